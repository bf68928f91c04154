"""What ``edge check`` looks at beside the devices themselves: pins, machine, secrets, trust, and who is told."""
