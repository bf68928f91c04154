"""Verifying a card, side by side with its peers in one process: the same text, decoded, verified and mapped by each.

The peers need older versions of the CBOR library than the gate has, so they live in an environment of their own, which
``scripts/oracles`` makes. From the gate's own environment this module starts itself there.

    minimal   identifier, name, date of birth; no face
    face      all of that, address and more, and a face of 900 bytes
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.credential import verify
from edge.credential.issue import DIALECTS, issue, message, payload, signer
from edge.trust.interval import Interval
from edge.trust.keys import jwk, pinned
from edge.trust.list import Issuer, TrustList

_TOP = Path(__file__).parents[2]
ORACLES = Path(os.environ.get("EDGE_ORACLES", _TOP / ".cache" / "oracles")) / "bin" / "python"
_NOW = datetime.now(UTC).replace(microsecond=0)
_ISS = "https://id.example"
_MINIMAL: dict[str, Any] = {
    "iss": _ISS,
    "exp": _NOW + timedelta(days=365),
    "iat": _NOW - timedelta(days=1),
    "id": "3918592438",
    "full_name": "Janardhan BS",
    "date_of_birth": "19840418",
}
_FACE: dict[str, Any] = {
    **_MINIMAL,
    "nbf": _NOW - timedelta(days=1),
    "gender": 1,
    "address": "New House, Near Metro Line, Bengaluru, KA",
    "email": "janardhan@example.com",
    "phone": "+919876543210",
    "nationality": "IN",
    "face": b"RIFF\x7c\x03\x00\x00WEBPVP8 " + hashlib.shake_256(b"face").digest(884),
}
Way = Callable[[], object]
_RUN = 25
_MEAN, _WORST = 0.75, 1.6


def measure(console: object = None, seconds: float = 1.0) -> dict[str, Any]:
    """Speed beside the peers, where they are at hand, and the sizes of cards.

    Returns:
        ``us``: medians in microseconds by case and implementation; ``ours_to_claim169`` with its ``geometric_mean``;
        ``sizes``: by dialect and bytes of the face: bytes of the message, characters and version of the code.
    """
    found = _there(seconds) if not _here("claim169") and ORACLES.exists() else compared(seconds)
    found["sizes"] = sizes()
    if found["geometric_mean"] is not None:
        worst = max(found["ours_to_claim169"].values())
        found["targets"] = [
            {"name": "ours/claim169, mean", "most": _MEAN, "found": found["geometric_mean"]},
            {"name": "ours/claim169, worst case", "most": _WORST, "found": worst},
        ]
        for target in found["targets"]:
            target["met"] = target["found"] <= target["most"]
    return found


def sizes() -> dict[str, dict[str, dict[str, int]]]:
    """How large cards become, by dialect and bytes of the face."""
    import segno

    made: dict[str, dict[str, dict[str, int]]] = {}
    for name, dialect in DIALECTS.items():
        for budget in (500, 800, 1200):
            face = _FACE["face"][:16] + hashlib.shake_256(b"face").digest(budget - 16)
            claims = {**_FACE, "face": face}
            by = signer(_keys()["ES256"], "key-1")
            text = issue(claims, by, dialect)
            code = segno.make_qr(text, error="l", boost_error=False)
            size = {"bytes": len(message(payload(claims, dialect), by, dialect)), "characters": len(text)}
            made.setdefault(name, {})[str(budget)] = {**size, "qr_version": int(code.version)}
    return made


def compared(seconds: float) -> dict[str, Any]:
    """Ours and every peer at hand, in this process."""
    cases: dict[str, dict[str, float]] = {}
    for key, private in _keys().items():
        for name, claims in (("minimal", _MINIMAL), ("face", _FACE)):
            text = issue(claims, signer(private, "key-1"))
            cases[f"{name} {key}"] = _medians(_ways(text, private, key), seconds)
    ratios = {name: case["ours"] / case["claim169"] for name, case in cases.items() if "claim169" in case}
    mean = math.exp(statistics.fmean(map(math.log, ratios.values()))) if ratios else None
    return {"us": cases, "ours_to_claim169": ratios, "geometric_mean": mean}


def _keys() -> dict[str, Any]:
    return {
        "EdDSA": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
        "ES256": ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1()),
    }


def _there(seconds: float) -> dict[str, Any]:
    """The same, in the environment of the peers."""
    environment = {**os.environ, "PYTHONPATH": str(_TOP)}
    command = [str(ORACLES), "-m", "edge.bench.credential", str(seconds)]
    out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    found: dict[str, Any] = json.loads(out)
    return found


def _here(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _ways(text: str, private: Any, key: str) -> dict[str, Way]:
    """Every implementation at hand, checked once to accept the card."""
    ways: dict[str, Way] = {"ours": _ours(text, private)}
    for name, module, way in (
        ("claim169", "claim169", _claim169),
        ("python-cwt", "cwt", _cwt),
        ("pycose", "pycose", _pycose),
    ):
        if _here(module):
            ways[name] = way(text, private, key)
    for way_of_one in ways.values():
        way_of_one()
    return ways


def _ours(text: str, private: Any) -> Way:
    trust = TrustList((Issuer((_ISS,), (pinned(private.public_key(), kids=("key-1",)),)),))
    now = Interval.exactly(_NOW)
    return lambda: verify(text, trust, now)


def _claim169(text: str, private: Any, key: str) -> Way:
    claim169 = importlib.import_module("claim169")
    if key == "EdDSA":
        raw = private.public_key().public_bytes_raw()
        return lambda: claim169.decode_with_ed25519(text, raw)
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return lambda: claim169.decode_with_ecdsa_p256(text, point)


def _inflated(text: str) -> bytes:
    import zlib

    base45 = importlib.import_module("base45")
    return zlib.decompress(base45.b45decode(text))


def _cwt(text: str, private: Any, key: str) -> Way:
    cwt = importlib.import_module("cwt")
    public = cwt.COSEKey.from_jwk(jwk(pinned(private.public_key()), "key-1"))
    return lambda: cwt.decode(_inflated(text), public)


def _pycose(text: str, private: Any, key: str) -> Way:
    cbor2, keys = importlib.import_module("cbor2"), importlib.import_module("pycose.keys")
    messages = importlib.import_module("pycose.messages")
    if key == "EdDSA":
        public = keys.OKPKey(crv="ED25519", x=private.public_key().public_bytes_raw())
    else:
        numbers = private.public_key().public_numbers()
        public = keys.EC2Key(crv="P_256", x=numbers.x.to_bytes(32, "big"), y=numbers.y.to_bytes(32, "big"))

    def way() -> object:
        message = messages.Sign1Message.decode(_inflated(text))
        message.key = public
        if not message.verify_signature():
            raise ValueError("pycose does not verify the card")
        return cbor2.loads(message.payload)

    return way


def _medians(ways: dict[str, Way], seconds: float) -> dict[str, float]:
    """Short runs of each in turn, so that a slow moment of the machine meets all of them and each one runs warm."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    gc.disable()
    try:
        ends = time.perf_counter() + seconds * len(ways)
        while time.perf_counter() < ends or len(took["ours"]) < 20:
            for name, way in ways.items():
                for _ in range(_RUN):
                    began = time.perf_counter()
                    way()
                    took[name].append(time.perf_counter() - began)
    finally:
        gc.enable()
    return {name: statistics.median(times) * 1e6 for name, times in took.items()}


def report(found: dict[str, Any]) -> str:
    """The figures as a table for a terminal."""
    lines = []
    for name, case in found["us"].items():
        figures = "  ".join(f"{one} {value:8.1f}" for one, value in case.items())
        ratio = found["ours_to_claim169"].get(name)
        lines.append(f"{name:16} {figures} µs" + (f"  ratio {ratio:.2f}" if ratio else ""))
    if found["geometric_mean"]:
        lines.append(f"geometric mean of ours to claim169: {found['geometric_mean']:.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    json.dump(compared(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), sys.stdout)
