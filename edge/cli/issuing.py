"""``edge credential issue``: makes a card for pilots, tests and re-issuers, and says how large its code becomes.

The face is fitted into a budget of bytes by trial: every codec, size and crop below is encoded as well as the budget
allows, read back the way a gate reads it, and compared with the whole picture; the one that compares best is taken.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.trust.cose import Signer
    from edge.trust.encryption import ContentKey

MODULE_MM = 0.33  # of one module: what an office printer prints and a gate's camera reads
_QUIET = 4
_SIDES = (48, 64, 80, 96)
_CROPS = (1.0, 1.25)
_TEMPLATES = {32: 1, 130: 4, 258: 8}
"""Bytes of a template to bits a dimension, for 256 dimensions."""
_CODECS = (".webp", ".avif", ".jpg")


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``issue`` to ``edge credential``."""
    issue = actions.add_parser("issue", help="make a card: text, PNG and SVG")
    issue.add_argument("claims", type=Path, help='JSON: {"iss": ..., "exp": ..., "id": ..., "full_name": ...}')
    issue.add_argument("--out", required=True, type=Path, metavar="BASE", help="writes BASE.txt, BASE.png, BASE.svg")
    issue.add_argument("--dialect", choices=("spec-table", "spec-example", "hex-text"), default="spec-table")
    issue.add_argument("--key", type=Path, metavar="PEM", help="private key of the issuer")
    issue.add_argument("--alg", help="JOSE name, where the usual one of that key is not meant: RS256")
    issue.add_argument("--kid", help="what the key is called; default: its thumbprint")
    issue.add_argument("--module", type=Path, metavar="LIBRARY", help="PKCS#11: sign with a P-256 key in a token")
    issue.add_argument("--token", default="", metavar="LABEL", help="PKCS#11: which token")
    issue.add_argument("--key-id", default="01", metavar="HEX", help="PKCS#11: which key")
    issue.add_argument("--pin-file", type=Path, metavar="FILE", help="PKCS#11: the PIN")
    issue.add_argument("--face", type=Path, metavar="PICTURE", help="portrait with one face")
    issue.add_argument(
        "--budget", type=int, metavar="BYTES", help="for the face; without it the picture goes in as it is"
    )
    issue.add_argument(
        "--template",
        nargs="?",
        type=int,
        const=258,
        choices=tuple(_TEMPLATES),
        metavar="BYTES",
        help="the face as a template of this gate's model, of 32, 130 or 258 bytes; beside the photo with --budget",
    )
    issue.add_argument(
        "--models", type=Path, default=Path("models"), metavar="FOLDER", help="for --budget and --template"
    )
    issue.add_argument("--set", default="best", choices=("best", "default", "standard"), help="which models")
    issue.add_argument("--encrypt", type=Path, metavar="KEYFILE", help="content key, 32 to 64 hexadecimal digits")
    issue.add_argument("--encrypt-kid", metavar="KID", help="what the content key is called")
    issue.set_defaults(act=act_issue)


def act_issue(args: argparse.Namespace) -> int:
    """Make one card; 0 written, 1 not possible, 2 wrong usage."""
    from edge.credential.issue import DIALECTS, issue
    from edge.errors import DeviceError, Refusal

    if (args.key is None) == (args.module is None):
        print("edge credential: give --key or --module", file=sys.stderr)
        return 2
    try:
        claims = json.loads(args.claims.read_text(encoding="utf-8"))
        content_key = _content_key(args)
        fitted = _with_face(args, claims)
        nonce = secrets.token_bytes(12) if content_key else b""
        text = issue(claims, _signer(args), DIALECTS[args.dialect], content_key, nonce)
        report = _written(text, args.out)
    except OSError as error:
        print(f"edge credential: {error}", file=sys.stderr)
        return 2
    except (ValueError, TypeError, DeviceError, Refusal) as error:
        print(f"edge credential: {error}", file=sys.stderr)
        return 1
    print(json.dumps({**report, "face": fitted}))
    return 0


def _content_key(args: argparse.Namespace) -> ContentKey | None:
    from edge.trust.encryption import ContentKey

    if args.encrypt is None:
        return None
    secret = bytes.fromhex(args.encrypt.read_text().strip())
    number = {16: 1, 24: 2, 32: 3}.get(len(secret), 0)
    return ContentKey(secret, number, args.encrypt_kid.encode() if args.encrypt_kid else None)


def _signer(args: argparse.Namespace) -> Signer:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from edge.trust.cose import signer
    from edge.trust.keys import jwk_thumbprint

    if args.module is not None:
        return token_signer(args.module, args.token, args.key_id, args.pin_file.read_text().strip(), args.kid)
    private: Any = load_pem_private_key(args.key.read_bytes(), None)
    kid = args.kid.encode() if args.kid else jwk_thumbprint(private.public_key())
    return signer(private, kid, args.alg)


def token_signer(module: Path, label: str, key_id: str, pin: str, kid: str | None) -> Signer:
    """A signer whose P-256 key stays in a PKCS#11 token.

    Raises:
        DeviceError: the token, the key or the PIN is not there; raised when it signs.
    """
    from edge.trust.cose import Signer

    def sign(content: bytes) -> bytes:
        import hashlib

        import pkcs11
        from pkcs11.exceptions import PKCS11Error

        from edge.devices.token import TokenPlace, find, load, reinitialise, said
        from edge.errors import DeviceError

        place = TokenPlace(module, label, "", key_id)
        wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.Attribute.ID: bytes.fromhex(key_id)}
        try:
            with find(load(module), place).open(user_pin=pin) as session:
                keys = list(session.get_objects(wanted))
                if len(keys) != 1:
                    raise DeviceError("token", f"{label!r} does not hold the key {key_id}")
                return bytes(keys[0].sign(hashlib.sha256(content).digest(), mechanism=pkcs11.Mechanism.ECDSA))
        except PKCS11Error as error:
            raise DeviceError("token", said(error, label)) from error
        finally:
            reinitialise(module)

    return Signer(-7, kid.encode() if kid else None, sign)


def _written(text: str, base: Path) -> dict[str, Any]:
    """Write the code as text and pictures; its measures."""
    import segno

    code = segno.make_qr(text, error="l", mode="alphanumeric", boost_error=False)
    base.with_suffix(".txt").write_text(text, encoding="ascii")
    code.save(str(base.with_suffix(".png")), scale=8, border=_QUIET)
    modules = code.symbol_size(border=0)[0]
    code.save(str(base.with_suffix(".svg")), scale=MODULE_MM, border=_QUIET, unit="mm")
    return {
        "characters": len(text),
        "qr_version": code.version,
        "modules": modules,
        "smallest_mm": round((modules + 2 * _QUIET) * MODULE_MM, 1),
    }


def _with_face(args: argparse.Namespace, claims: dict[str, Any]) -> dict[str, Any] | None:
    """Put the face into the claims; what was chosen."""
    if args.face is None:
        return None
    raw = args.face.read_bytes()
    written: dict[str, Any] = {}
    faces: list[Any] = []
    if args.template is not None:
        data, model = _template(args, raw)
        faces.append({"data": data, "format": 1, "subformat": 100, "issuer": model})
        written |= {"template": model, "template_bytes": len(data)}
    if args.budget is not None:
        best = fit(raw, args.budget, _sessions(args))
        faces.append(best.data)
        written |= {"codec": best.codec, "side": best.side, "crop": best.crop, "score": best.score}
        written |= {"bytes": len(best.data)}
    elif args.template is None:
        faces.append(raw)
        written |= {"bytes": len(raw)}
    claims["face"] = faces if len(faces) > 1 else faces[0]
    return written


def _sessions(args: argparse.Namespace) -> Any:
    from edge.biometric.manifest import parse
    from edge.settings import read_toml
    from edge.vision.sessions import ModelSessions

    return ModelSessions.open(parse(read_toml(args.models / "models.toml")), args.models, args.set, threads=1)


def _template(args: argparse.Namespace, raw: bytes) -> tuple[bytes, str]:
    """The template of the face, as the comparison reads it."""
    from edge.biometric import template as templates
    from edge.vision.reference import template

    sessions = _sessions(args)
    vector, _ = template(_decoded(raw), sessions)
    return templates.quantised(vector, _TEMPLATES[args.template]), sessions.embedder.name


def _decoded(raw: bytes) -> Any:
    import cv2
    import numpy as np

    image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("the portrait does not decode")
    return image


@dataclass(frozen=True)
class Fitted:
    """One way to put a face into few bytes, and how it compares with the whole picture."""

    data: bytes
    codec: str
    side: int
    crop: float
    score: float


def fit(raw: bytes, budget: int, sessions: Any) -> Fitted:
    """The face as it compares best within a budget of bytes.

    Raises:
        Refusal: no face, or several.
        ValueError: nothing fits.
    """
    from edge.biometric.score import cosine
    from edge.vision.reference import locate, template

    image = _decoded(raw)
    whole, landmarks = locate(image, sessions.detector)
    wanted = sessions.embedder.embed(whole, landmarks)
    best: Fitted | None = None
    for data, codec, side, crop in _candidates(whole, landmarks, budget):
        score = cosine(template(_decoded(data), sessions)[0], wanted)
        if best is None or score > best.score:
            best = Fitted(data, codec, side, crop, round(float(score), 4))
    if best is None:
        raise ValueError(f"no face fits into {budget} bytes")
    return best


def _candidates(image: Any, landmarks: Any, budget: int) -> Iterator[tuple[bytes, str, int, float]]:
    import numpy as np

    from edge.vision.portrait import framed

    for crop in _CROPS:
        looser = landmarks.mean(0) + (landmarks - landmarks.mean(0)) * np.float32(crop)
        for side in _SIDES:
            face = framed(image, looser, side)
            for codec in _CODECS:
                data = _best_within(budget, partial(_encoded, face, codec))
                if data:
                    yield data, codec.lstrip("."), side, crop


def _best_within(budget: int, encode: Callable[[int], bytes]) -> bytes:
    """The best quality whose bytes fit; empty where none does."""
    best, low, high = b"", 1, 100
    while low <= high:
        quality = (low + high) // 2
        encoded = encode(quality)
        if encoded and len(encoded) <= budget:
            best, low = encoded, quality + 1
        else:
            high = quality - 1
    return best


def _encoded(face: Any, codec: str, quality: int) -> bytes:
    import cv2

    parameter = {".webp": cv2.IMWRITE_WEBP_QUALITY, ".jpg": cv2.IMWRITE_JPEG_QUALITY, ".avif": cv2.IMWRITE_AVIF_QUALITY}
    try:
        done, encoded = cv2.imencode(codec, face, [parameter[codec], quality])
    except cv2.error:  # this build does not write that kind
        return b""
    return encoded.tobytes() if done else b""
