"""The keys on the operator's desk: files, or the places of keys in tokens.

Rules:

1. A key is ``<name>.pub`` and either ``<name>.pem``, private, or ``<name>.uri``, where it is in a token (RFC 7512). A
   token keeps its key, and its PIN is in no file, argument or environment.
2. A new key waits beside the old one (``<name>.next.*``) until a root that names it is published, and only then takes
   its place. Whatever interrupts that: the published root says which of the two it is.
3. What is not here is not an error before it is needed; a token that is not plugged in is a key that is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from edge.sync.book import OfficeError
from edge.sync.metadata import Signing, signer_by, signer_of
from edge.trust import cose
from edge.trust.algorithms import PublicKey

_ES256: Final = -7
_KINDS: Final = (".pem", ".uri", ".pub")


class TokenKey(Protocol):
    """A P-256 key in a token, logged in.

    Attributes:
        public: its SubjectPublicKeyInfo, DER.
    """

    public: bytes

    def sign(self, message: bytes) -> bytes:
        """Sign with ECDSA over SHA-256; r || s."""
        ...


Tokens = Callable[[str, str, bool], TokenKey | None]
"""The key of this name at this URI, made there when the last argument says so; None when the token is not here."""


def no_tokens(name: str, uri: str, make: bool) -> TokenKey | None:
    """For a desk without tokens."""
    raise OfficeError(f"the key {name} is in a token, and there is no way to tokens here")


class Keyring:
    """One folder of keys."""

    def __init__(self, folder: Path, tokens: Tokens = no_tokens) -> None:
        self.folder = folder
        self._tokens = tokens
        self._open: dict[str, TokenKey | None] = {}

    def make(self, name: str, uri: str = "") -> None:
        """Make a key, in a file or in the token at ``uri``; one that is there already is not touched.

        Raises:
            OfficeError: there is one already, or no such token.
        """
        if self.here(name):
            raise OfficeError(f"the key {name} is in {self.folder} already")
        if uri:
            public = self._in_token(name, uri)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            self._keep(f"{name}.pem", private)
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._keep(f"{name}.pub", public)

    def _in_token(self, name: str, uri: str) -> bytes:
        key = self._tokens(name, uri, True)
        if key is None:
            raise OfficeError(f"the token for {name} is not plugged in")
        self._open[uri] = key
        self._keep(f"{name}.uri", f"{uri}\n".encode())
        public: Any = load_der_public_key(key.public)
        pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    def _keep(self, file: str, content: bytes) -> None:
        path = self.folder / file
        path.touch(mode=0o600)
        path.write_bytes(content)

    def here(self, name: str) -> bool:
        """Whether this desk has the key, or knows the token it is in."""
        return any((self.folder / f"{name}{kind}").exists() for kind in (".pem", ".uri"))

    def where(self, name: str) -> str:
        """Where the key is, for people."""
        if (uri := self._uri(name)) is not None:
            return f"token {uri.partition('?')[0].removeprefix('pkcs11:')}"
        return "file" if self.here(name) else "not here"

    def public(self, name: str) -> PublicKey:
        """The public key.

        Raises:
            OfficeError: it is not here.
        """
        try:
            key: Any = load_pem_public_key((self.folder / f"{name}.pub").read_bytes())
        except (OSError, ValueError) as error:
            raise OfficeError(f"{self.folder / name}.pub is needed: bring it from where it is kept") from error
        return key  # type: ignore[no-any-return]  # whatever kind it is

    def signing(self, name: str) -> Signing | None:
        """Who signs metadata with this key; None when it is not here.

        Raises:
            OfficeError: it is not the key it should be.
            DeviceError: the token does not do its part.
        """
        if (uri := self._uri(name)) is not None:
            token = self._token(name, uri)
            return None if token is None else signer_by(load_der_public_key(token.public), token.sign)
        return signer_of(self._private(name)) if self.here(name) else None

    def signer(self, name: str) -> cose.Signer:
        """Who signs lists with this key.

        Raises:
            OfficeError: it is not here.
        """
        if (uri := self._uri(name)) is not None:
            token = self._token(name, uri)
            if token is None:
                raise OfficeError(f"the token of the key {name} is needed: plug it in")
            return cose.Signer(_ES256, None, token.sign)
        return cose.signer(self._private(name))

    def _uri(self, name: str) -> str | None:
        path = self.folder / f"{name}.uri"
        return path.read_text(encoding="utf-8").strip() if path.exists() else None

    def _token(self, name: str, uri: str) -> TokenKey | None:
        """The key in the token, opened once; it must be the one that was there when it was made."""
        if uri not in self._open:
            self._open[uri] = self._tokens(name, uri, False)
        found = self._open[uri]
        if found is not None and load_der_public_key(found.public) != self.public(name):
            raise OfficeError(f"the token of {name} holds another key than {name}.pub")
        return found

    def _private(self, name: str) -> Any:
        path = self.folder / f"{name}.pem"
        try:
            return load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise OfficeError(f"the key {path} is needed: bring it from where it is kept") from error

    def take_over(self, names: Callable[[PublicKey], bool]) -> None:
        """Put each waiting key in its place if the published root names it, and drop it otherwise."""
        for path in sorted(self.folder.glob("*.next.pub")):
            waiting = path.name.removesuffix(".pub")
            if names(self.public(waiting)):
                self.replace(waiting, waiting.removesuffix(".next"))
            else:
                self._remove(waiting, _KINDS)

    def replace(self, waiting: str, name: str) -> None:
        """Put a waiting key into the place of another; interrupted, it is done again."""
        for kind, other in ((".pem", ".uri"), (".uri", ".pem")):
            if (self.folder / f"{waiting}{kind}").exists():
                self._remove(name, [other])
                (self.folder / f"{waiting}{kind}").replace(self.folder / f"{name}{kind}")
        (self.folder / f"{waiting}.pub").replace(self.folder / f"{name}.pub")  # last: until then all of it is repeated

    def _remove(self, name: str, kinds: Iterable[str]) -> None:
        for kind in kinds:
            (self.folder / f"{name}{kind}").unlink(missing_ok=True)
