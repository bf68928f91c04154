"""The world as the gate can touch it: each device behind its port, each with a simulated twin."""
