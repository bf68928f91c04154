"""What the gate costs and how fast it is, measured."""
