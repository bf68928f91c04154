"""Entries out over MQTT 5: the sender at the gate, the collector at the other side."""
