"""Signature algorithms: what each number in a COSE header means, and how its signature is checked.

Rules:

1. An algorithm is pinned on a key when the key is loaded; a message can only agree with it, never choose it.
2. A number means one algorithm on one curve: ES256 on P-384 does not exist here (as in RFC 9864).
3. ECDSA signatures are r || s of exactly twice the field's length, both in 1 .. n-1. DER only where a profile says so.
4. RSA keys have 2,048 to 8,192 bits, an odd exponent from 3 on, a sound generator; PSS salt is as long as the hash.
5. Ed25519 is checked by libsodium: S below the order, no key and no R of small order. All others by OpenSSL.
6. RS256 and ES256K are for issuers whose profile allows them by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

RSA_BITS: Final = range(2048, 8193)


@dataclass(frozen=True)
class Ecdsa:
    """One curve with its hash; ``size`` is the length of r and of s in bytes, ``order`` the curve's n."""

    curve: type[ec.EllipticCurve]
    hash: hashes.HashAlgorithm
    size: int
    order: int
    scheme: ec.ECDSA = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scheme", ec.ECDSA(self.hash))


_P256_N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P384_N: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
_P521_N: Final = int(
    "01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
    "FA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409",
    16,
)
_K256_N: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class Algorithm(Enum):
    """A signature algorithm: its name in JOSE and the COSE numbers that mean it."""

    EDDSA = ("EdDSA", (-8, -19), None)
    ES256 = ("ES256", (-7, -9), Ecdsa(ec.SECP256R1, hashes.SHA256(), 32, _P256_N))
    ES384 = ("ES384", (-35, -51), Ecdsa(ec.SECP384R1, hashes.SHA384(), 48, _P384_N))
    ES512 = ("ES512", (-36, -52), Ecdsa(ec.SECP521R1, hashes.SHA512(), 66, _P521_N))
    PS256 = ("PS256", (-37,), hashes.SHA256())
    PS384 = ("PS384", (-38,), hashes.SHA384())
    PS512 = ("PS512", (-39,), hashes.SHA512())
    RS256 = ("RS256", (-257,), hashes.SHA256())
    ES256K = ("ES256K", (-47,), Ecdsa(ec.SECP256K1, hashes.SHA256(), 32, _K256_N))

    def __init__(self, jose: str, numbers: tuple[int, ...], parameters: Ecdsa | hashes.HashAlgorithm | None) -> None:
        self.jose = jose
        self.numbers = numbers
        self.parameters = parameters
        self.by_name_only = jose in ("RS256", "ES256K")  # an issuer's profile has to allow it


BY_NUMBER: Final = {number: algorithm for algorithm in Algorithm for number in algorithm.numbers}
BY_NAME: Final = {algorithm.jose: algorithm for algorithm in Algorithm} | {
    "Ed25519": Algorithm.EDDSA,
    "ESP256": Algorithm.ES256,
    "ESP384": Algorithm.ES384,
    "ESP512": Algorithm.ES512,
}
_CURVES: Final[dict[str, Algorithm]] = {
    str(algorithm.parameters.curve().name): algorithm
    for algorithm in (Algorithm.ES256, Algorithm.ES384, Algorithm.ES512, Algorithm.ES256K)
    if isinstance(algorithm.parameters, Ecdsa)
}
# The encodings of all points of small order on edwards25519: a signature under one of them proves nothing.
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


def _powers(prime: int) -> frozenset[int]:
    found, power = {1}, 65537 % prime
    while power not in found:
        found.add(power)
        power = power * 65537 % prime
    return frozenset(found)


_POWERS: Final = tuple(
    (prime, _powers(prime)) for prime in (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
)


class WeakKey(ValueError):  # noqa: N818 -- reads as what it is
    """The key is of a kind, size or value that proves nothing."""


def fitting(public: object, name: str | None = None) -> tuple[PublicKey, Algorithm]:
    """Pin the algorithm of a key: the one it is named for, or the usual one of its kind.

    Raises:
        WeakKey: the key proves nothing, or is not of the kind that the name says.
    """
    usual = _usual(public)
    if name is None:
        return usual
    key, algorithm = usual
    wanted = BY_NAME.get(name)
    if wanted is None:
        raise WeakKey(f"algorithm {name} is not known")
    if wanted is not algorithm and not (
        isinstance(key, rsa.RSAPublicKey) and isinstance(wanted.parameters, hashes.HashAlgorithm)
    ):
        raise WeakKey(f"a key for {algorithm.jose} cannot be pinned to {name}")
    return key, wanted


def _usual(public: object) -> tuple[PublicKey, Algorithm]:
    match public:
        case ed25519.Ed25519PublicKey():
            raw = public.public_bytes_raw()
            if raw[:31] + bytes((raw[31] & 0x7F,)) in _SMALL_ORDER:
                raise WeakKey("Ed25519 key of small order")
            return public, Algorithm.EDDSA
        case ec.EllipticCurvePublicKey():
            curve = str(public.curve.name)
            if curve not in _CURVES:
                raise WeakKey(f"curve {curve} is not accepted")
            return public, _CURVES[curve]
        case rsa.RSAPublicKey():
            exponent = public.public_numbers().e
            if public.key_size not in RSA_BITS or exponent < 3 or exponent % 2 == 0:
                raise WeakKey("RSA key too small, too large, or of a bad exponent")
            if _of_weak_chip(public.public_numbers().n):
                raise WeakKey("RSA key of a chip whose keys can be factored (CVE-2017-15361)")
            return public, Algorithm.PS256
        case _:
            raise WeakKey(f"{type(public).__name__} does not sign")


def _of_weak_chip(modulus: int) -> bool:
    """Whether a modulus is, modulo every small prime, a power of 65537: the mark of the faulty generator."""
    return all(modulus % prime in powers for prime, powers in _POWERS)


Check = Callable[[bytes, bytes, bool], bool]
"""Whether a signature over a message verifies; True lets an ECDSA signature be DER instead of r || s."""


def valid(public: PublicKey, algorithm: Algorithm, signature: bytes, message: bytes, der: bool = False) -> bool:
    """Whether ``signature`` over ``message`` verifies; ``der`` lets an ECDSA signature be DER instead of r || s."""
    return check(public, algorithm)(signature, message, der)


def check(public: Any, algorithm: Algorithm) -> Check:
    """Make ready, once per key, what is done for every signature."""
    parameters = algorithm.parameters
    if parameters is None:
        return _ed25519(public.public_bytes_raw())
    if isinstance(parameters, Ecdsa):
        return _ecdsa(public, parameters)
    return _rsa(public, algorithm, parameters)


def _ed25519(raw: bytes) -> Check:
    def verifies(signature: bytes, message: bytes, _: bool) -> bool:
        if len(signature) != 64:
            return False
        try:
            crypto_sign_open(signature + message, raw)
        except CryptoError:
            return False
        return True

    return verifies


def _ecdsa(public: ec.EllipticCurvePublicKey, parameters: Ecdsa) -> Check:
    verify, scheme = public.verify, parameters.scheme

    def verifies(signature: bytes, message: bytes, der: bool) -> bool:
        try:
            verify(_as_der(signature, parameters, der), message, scheme)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verifies


def _rsa(public: rsa.RSAPublicKey, algorithm: Algorithm, digest: hashes.HashAlgorithm) -> Check:
    size, scheme = (public.key_size + 7) // 8, _padding(algorithm, digest)

    def verifies(signature: bytes, message: bytes, _: bool) -> bool:
        if len(signature) != size:
            return False
        try:
            public.verify(signature, message, scheme, digest)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verifies


def _as_der(signature: bytes, parameters: Ecdsa, der: bool) -> bytes:
    size = parameters.size
    if len(signature) == 2 * size:
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    elif der:
        r, s = decode_dss_signature(signature)
    else:
        raise InvalidSignature
    if not (0 < r < parameters.order and 0 < s < parameters.order):
        raise InvalidSignature
    return encode_dss_signature(r, s)


def _padding(algorithm: Algorithm, digest: hashes.HashAlgorithm) -> padding.PKCS1v15 | padding.PSS:
    if algorithm is Algorithm.RS256:
        return padding.PKCS1v15()
    return padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)


def sign(private: PrivateKey, algorithm: Algorithm, message: bytes) -> bytes:
    """Make the signature that ``valid`` accepts."""
    parameters = algorithm.parameters
    match private:
        case ed25519.Ed25519PrivateKey():
            return private.sign(message)
        case ec.EllipticCurvePrivateKey():
            assert isinstance(parameters, Ecdsa)
            r, s = decode_dss_signature(private.sign(message, parameters.scheme))
            return r.to_bytes(parameters.size, "big") + s.to_bytes(parameters.size, "big")
        case rsa.RSAPrivateKey():
            assert isinstance(parameters, hashes.HashAlgorithm)
            return private.sign(message, _padding(algorithm, parameters), parameters)
