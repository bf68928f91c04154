"""Code text to verified credential, or a refusal that says exactly why."""

from edge.credential.verifier import Credential, verify

__all__ = ["Credential", "verify"]
