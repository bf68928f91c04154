"""``edge credential verify | explain | issue``: hold a card against a trust list, say what a code is, make a card."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import issuing

if TYPE_CHECKING:
    from edge.credential.cwt import Claims
    from edge.credential.reading import Reading
    from edge.credential.trace import Trace
    from edge.credential.verifier import Credential
    from edge.errors import Refusal
    from edge.trust.encryption import ContentKey
    from edge.trust.list import TrustList

_A_FILE = re.compile(r"[^\0]{1,255}\.(png|jpe?g|webp|tiff?|txt|bin|cbor)")
"""A name of a file; no code has small letters at its end."""
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"II*\x00", b"MM\x00*", b"BM")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``credential`` to the command line."""
    credential = commands.add_parser("credential", help="verify, explain, issue a card")
    actions = credential.add_subparsers(dest="action", required=True, metavar="ACTION")

    verify = actions.add_parser("verify", help="hold a card against a trust list")
    _add_code(verify)
    verify.add_argument("--trust", required=True, type=Path, metavar="T", help="signed trust list, or plain JSON")
    verify.add_argument(
        "--root", action="append", default=[], metavar="KEY", help="root key of a signed list: PEM or base64"
    )
    verify.add_argument("--at", metavar="TIME", help="ISO 8601, instead of now")
    verify.add_argument("--skew", type=float, default=120.0, metavar="S", help="allowance at both ends of the validity")
    verify.add_argument("--audience", help="refuse cards that are for somebody else")
    verify.set_defaults(act=act_verify)

    explain = actions.add_parser("explain", help="say what a code is; believes nothing, needs no trust")
    _add_code(explain)
    explain.set_defaults(act=act_explain)
    issuing.add(actions)


def _add_code(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "code", metavar="TEXT|FILE|-", help="a code: its text, a file with it, a picture of it, - for stdin"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--claims", action="store_true", help="with the personal data")
    parser.add_argument("--decrypt", action="append", default=[], type=Path, metavar="KEYFILE", help="content key, hex")
    parser.add_argument("--prefix", action="append", default=[], help="what this issuer puts before the Base45")


def act_verify(args: argparse.Namespace) -> int:
    """Verify one code; 0 verified, 1 refused, 2 wrong usage."""
    from edge.credential.trace import Trace
    from edge.credential.verifier import verify
    from edge.errors import Refusal
    from edge.trust.interval import Interval

    try:
        text = code_text(args.code)
        trust = open_trust(args.trust, args.root)
        moment = datetime.fromisoformat(args.at) if args.at else datetime.now(UTC)
        now = Interval.exactly(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
        content_keys = _content_keys(args.decrypt)
    except (ValueError, OSError) as error:
        return _usage(error)
    trace = Trace(time.perf_counter)
    try:
        credential = verify(
            text,
            trust,
            now,
            skew=_seconds(args.skew),
            content_keys=content_keys,
            audience=args.audience,
            prefixes=tuple(args.prefix),
            trace=trace,
        )
    except Refusal as refusal:
        _show(_refused(text, refusal, trace, tuple(args.prefix), content_keys), args.json)
        return 1
    _show(_verified(credential, trace, args.claims), args.json)
    return 0


def act_explain(args: argparse.Namespace) -> int:
    """Explain one code; 0 when it is a Claim 169 credential, 1 when not, 2 wrong usage."""
    from edge.credential import reading
    from edge.credential.trace import Trace
    from edge.errors import Refusal

    try:
        text = code_text(args.code)
        content_keys = _content_keys(args.decrypt)
    except (ValueError, OSError) as error:
        return _usage(error)
    trace = Trace(time.perf_counter)
    try:
        found = reading.read(text, trace, tuple(args.prefix), content_keys)
        _show(_explained(found, trace, args.claims), args.json)
    except Refusal as refusal:
        _show(_refused(text, refusal, trace, tuple(args.prefix), content_keys), args.json)
        return 1
    return 0


def _usage(error: Exception) -> int:
    print(f"edge credential: {error}", file=sys.stderr)
    return 2


def _content_keys(files: list[Path]) -> list[ContentKey]:
    """Content keys, each for whatever it may open."""
    from edge.trust.encryption import content_keys

    found: list[ContentKey] = []
    for file in files:
        try:
            keys = content_keys(file.read_text())
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        if not keys:
            raise ValueError(f"{file} holds no content key")
        found += keys
    return found


def _seconds(value: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=value)


def code_text(argument: str) -> str:
    """The text of a code, wherever it is.

    Raises:
        ValueError: a picture without a readable code, or a file that holds no text.
        OSError: the file cannot be read.
    """
    raw = sys.stdin.buffer.read() if argument == "-" else _file_bytes(argument)
    if raw is None:
        if _A_FILE.fullmatch(argument):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argument)
        return argument
    if raw.startswith(_PICTURES):
        return _picture_text(raw)
    return raw.decode("utf-8", errors="replace")


def _file_bytes(argument: str) -> bytes | None:
    try:
        path = Path(argument)
        return path.read_bytes() if path.is_file() else None
    except (OSError, ValueError):  # too long for a file name, or with a null: a text
        return None


def _picture_text(raw: bytes) -> str:
    import cv2
    import numpy as np
    import zxingcpp

    image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ValueError("this picture does not decode")
    for scale in (1.0, 2.0, 0.5):
        sized = image if scale == 1.0 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found = zxingcpp.read_barcodes(sized)
        if found:
            return str(found[0].text)
    raise ValueError("no readable code in this picture")


def open_trust(path: Path, roots: list[str]) -> TrustList:
    """Open a trust list: plain JSON for development, or a signed one, believed by its roots.

    Raises:
        ValueError: not a list, or not signed by one of the roots.
        OSError: the file cannot be read.
    """
    from edge.errors import Refusal
    from edge.trust.list import open_list, open_plain

    raw = path.read_bytes()
    if raw.lstrip()[:1] == b"{":
        return open_plain(raw.decode())
    if not roots:
        raise ValueError("a signed trust list needs --root")
    try:
        return open_list(raw, [_root(root) for root in roots])
    except Refusal as refusal:
        raise ValueError(refusal.detail) from refusal


def _root(argument: str) -> bytes:
    return _file_bytes(argument) or argument.encode()


def _verified(credential: Credential, trace: Trace, claims: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "outcome": "verified",
        "reason": None,
        "dialect": credential.dialect,
        "issuer": credential.issuer,
        "kid": credential.kid,
        "alg": credential.alg,
        "issued": _iso(credential.issued),
        "not_before": _iso(credential.not_before),
        "expires": _iso(credential.expires),
        "validity": credential.validity.value,
        "flags": sorted(credential.flags),
        "reference": type(credential.reference).__name__.lower() if credential.reference else None,
        "trace": _stages(trace),
    }
    if claims:
        shown["claims"] = {**_token(credential.claims), "identity": _plain(credential.identity)}
    return shown


def _refused(
    text: str, refusal: Refusal, trace: Trace, prefixes: tuple[str, ...], content_keys: list[ContentKey]
) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "outcome": "refused",
        "reason": refusal.reason.code,
        "detail": refusal.detail,
        "person": refusal.reason.person,
        "operator": refusal.reason.operator,
        "dialect": None,
        "issuer": None,
        "kid": None,
        "alg": None,
    }
    shown.update(_claimed(text, prefixes, content_keys))
    shown["trace"] = _stages(trace)
    return shown


def _claimed(text: str, prefixes: tuple[str, ...], content_keys: list[ContentKey]) -> dict[str, Any]:
    """What a refused card says of itself."""
    from edge.credential import reading
    from edge.credential.trace import Trace
    from edge.errors import Refusal

    try:
        found = reading.read(text, Trace(), prefixes, content_keys)
    except Refusal:
        return {}
    return _headline(found)


def _headline(found: Reading) -> dict[str, Any]:
    from edge.credential import cwt
    from edge.errors import Refusal

    issuer = found.claims.get(cwt.ISS)
    try:
        alg = found.message.signatures[0].algorithm.jose
    except Refusal:
        alg = None
    return {
        "dialect": ", ".join((*found.dialect, *_forms(found))),
        "issuer": issuer if isinstance(issuer, str) else None,
        "kid": (found.message.kid or b"").hex(),
        "alg": alg,
    }


def _forms(found: Reading) -> tuple[str, ...]:
    """How claim 169 and the face in it are written."""
    from edge.credential import attributes, cwt
    from edge.errors import Refusal
    from edge.trust.profile import USUAL

    try:
        inner, form = attributes.unwrap(found.claims[cwt.IDENTITY], set())
        return form, *attributes.read(inner, USUAL).form_of_face
    except Refusal:
        return ()


def _explained(found: Reading, trace: Trace, claims: bool) -> dict[str, Any]:
    from edge.credential import attributes, cwt
    from edge.trust.profile import USUAL

    inner, _ = attributes.unwrap(found.claims[cwt.IDENTITY], set())
    person = attributes.read(inner, USUAL)
    token = cwt.claims(found.claims)
    shown = {
        "outcome": "explained",
        "reason": None,
        **_headline(found),
        "notes": sorted(found.notes | person.notes),
        "issued": _iso(token.iat),
        "not_before": _iso(token.nbf),
        "expires": _iso(token.exp),
        "attributes": sorted({*person.attributes, *person.raw, *(str(key) for key in person.others)}),
        "biometrics": {
            name: [{"form": one.form, "kind": one.kind, "bytes": len(one.data)} for one in found_ones]
            for name, found_ones in person.biometrics.items()
        },
        "trace": _stages(trace),
    }
    if claims:
        shown["claims"] = {**_token(token), "identity": _plain(person)}
    return shown


def _stages(trace: Trace) -> list[dict[str, Any]]:
    return [
        {"stage": stage.name, "bytes_in": stage.bytes_in, "bytes_out": stage.bytes_out, "us": stage.took_us}
        for stage in trace.stages
    ]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _token(claims: Claims) -> dict[str, Any]:
    """The claims of the token, by name."""
    shown: dict[str, Any] = _plain(claims)
    del shown["found"]
    return shown | {name: _plain(getattr(claims, name)) for name in ("cnf", "status", "others")}


def _plain(value: Any) -> Any:
    """A value as JSON can write it; bytes become hexadecimal text."""
    import dataclasses
    from collections.abc import Mapping
    from datetime import date

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {name: _plain(member) for name, member in members.items() if name != "identity"}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return value


def _show(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(shown, ensure_ascii=False))
        return
    for name, value in shown.items():
        if name != "trace":
            print(f"{name:12} {value if value is not None else '-'}")
    for stage in shown["trace"]:
        print(f"  {stage['stage']:12} {stage['bytes_in']:6} → {stage['bytes_out']:6} bytes {stage['us']:7} µs")
