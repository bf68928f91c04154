"""IAVS: identity assurance and verification services over the gate's own gallery, in REST; see README.md."""
