"""Codes that are something else, named for what they are, so that nobody is told "invalid" for showing a bus ticket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from edge.credential import base45
from edge.credential.inflate import inflate, is_zlib
from edge.errors import Reason, Refusal

_TEXTS: Final = (
    (re.compile(r"HC\d:"), "an EU digital COVID certificate"),
    (re.compile(r"LT\d:"), "an EU light certificate"),
    (re.compile(r"NZCP:/"), "a New Zealand COVID pass"),
    (re.compile(r"shc:/", re.IGNORECASE), "a SMART health card"),
    (re.compile(r"mdoc:", re.IGNORECASE), "a mobile driving licence (mdoc)"),
    (
        re.compile(r"(openid4vp|openid-credential-offer|haip|eudi-openid4vp|inji_ovp)://", re.IGNORECASE),
        "a wallet request",
    ),
    (re.compile(r"(https?|ftp)://", re.IGNORECASE), "a web address"),
    (re.compile(r"(mailto|tel|sms|geo|wifi|bitcoin|upi|otpauth|mecard):", re.IGNORECASE), "a link for a telephone"),
    (re.compile(r"BEGIN:V(CARD|CALENDAR|EVENT)", re.IGNORECASE), "a contact or a calendar entry"),
    (re.compile(r"[\w-]+\.[\w-]+\.[\w-]*~"), "an SD-JWT"),
    (re.compile(r"eyJ[\w-]*\.[\w-]+\.[\w-]*\Z"), "a JWT"),
    (re.compile(r"\s*<"), "XML"),
    (re.compile(r"\s*[\[{]"), "JSON"),
    (re.compile(r"P<[A-Z<]{3}"), "a passport's machine-readable zone"),
)
_HEALTH_CLAIM: Final = -260


def named(text: str, refusal: Refusal) -> Refusal:
    """The same refusal, or not-a-credential with the name of what the text is."""
    found = _of_text(text) or _of_content(text)
    return (
        refusal if found is None else Refusal(Reason.NOT_A_CREDENTIAL, f"this is {found}, not a Claim 169 credential")
    )


def _of_text(text: str) -> str | None:
    return next((name for pattern, name in _TEXTS if pattern.match(text)), None)


def _of_content(text: str) -> str | None:
    """PixelPass compresses and Base45-codes anything: look at what comes out."""
    try:
        packed = base45.decode(text.strip("\r\n\t"))
        content = inflate(packed, set()) if is_zlib(packed) else packed
    except Refusal:
        return None
    try:
        inner = _of_text(content.decode())
    except UnicodeDecodeError:
        return None
    return None if inner is None else f"{inner} packed by PixelPass"


def content(body: object) -> str:
    """What a CBOR item that is no signed message is."""
    if isinstance(body, str):
        return f"this is {_of_text(body) or 'text'} packed by PixelPass, not a Claim 169 credential"
    if isinstance(body, dict):
        if any(isinstance(key, int) for key in body):
            return "these are claims that nobody signed"
        return "this is a PixelPass record, not a Claim 169 credential"
    return "CBOR, but no signed message"


def token(claims: Mapping[int | str, Any]) -> str:
    """What a signed token without claim 169 is."""
    if _HEALTH_CLAIM in claims:
        return "this is an EU digital COVID certificate without its prefix"
    if "vc" in claims:
        return "this is a verifiable credential in a token (NZCP and others), not a Claim 169 credential"
    if any(isinstance(key, str) for key in claims):
        return "this is a token with named claims and no claim 169"
    return "this is a token without claim 169"
