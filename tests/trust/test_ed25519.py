"""Ed25519 by libsodium, held against OpenSSL: what one believes the other does too, but for what proves nothing."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge.trust.algorithms import Algorithm, valid

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key()
ORDER = 2**252 + 27742317777372353535851937790883648493


def by_openssl(signature: bytes, message: bytes) -> bool:
    try:
        PUBLIC.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@given(st.binary(max_size=300), st.integers(0, 63), st.integers(0, 255))
def test_both_say_the_same_about_a_signature_with_one_byte_replaced(message: bytes, at: int, value: int) -> None:
    signature = bytearray(PRIVATE.sign(message))
    signature[at] = value
    assert valid(PUBLIC, Algorithm.EDDSA, bytes(signature), message) is by_openssl(bytes(signature), message)


@given(st.binary(max_size=100))
def test_a_second_form_of_the_same_signature_is_refused(message: bytes) -> None:
    signature = PRIVATE.sign(message)
    larger = int.from_bytes(signature[32:], "little") + ORDER
    second = signature[:32] + larger.to_bytes(32, "little")
    assert valid(PUBLIC, Algorithm.EDDSA, signature, message)
    assert not valid(PUBLIC, Algorithm.EDDSA, second, message)


def test_a_signature_of_another_length_is_refused() -> None:
    signature = PRIVATE.sign(b"card")
    for length in (0, 32, 63):
        assert not valid(PUBLIC, Algorithm.EDDSA, signature[:length], b"card")
    assert not valid(PUBLIC, Algorithm.EDDSA, signature + b"c", b"ard")
