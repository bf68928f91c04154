"""edge-gate: an identity gate that decides offline and writes down what it decided."""

__version__ = "0.1.0"
