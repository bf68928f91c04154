"""The log format: entry, Merkle tree, checkpoint, proof. Knows nothing of gates."""
