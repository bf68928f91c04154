"""What the gate believes: which keys sign for which issuer, and what time it can be."""
