"""Biometric samples as callers hand them over, in whichever wrapping, and as they get them back.

Rules:

1. A BIR is XML, JSON, or the bare data block with its description beside it. Addresses are not followed.
2. What the block is, its bytes say where they can (face records, finger records, pictures); the label must not
   contradict them. Pictures are not decoded here. The numbers of ISO/IEC 39794-5 are not public: its bytes say it.
3. Encrypted blocks are refused: this gate holds no key for them. A signed one is checked, asked for or not.
"""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any

from edge.iavs import cbeff, faceblock, facerecord
from edge.iavs.catalogue import Catalogue, Field
from edge.iavs.jose import Invalid, Keys
from edge.iavs.refused import Refused
from edge.iavs.shapes import Misshapen, shaped

OWNER = 257
XML_PATRON = 11
FACE = "Face"
_FACE_IMAGE = "8"
_OWNERS = {"257", "0x0101", "mosip", "iso", "iso/iec jtc 1/sc 37", "iso_iec_jtc_1_sc_37_biometrics"}
_FORMATS = {"2": "Finger", "7": "Finger", "4": "Finger", "8": FACE, "9": "Iris"}
_SAMPLES = 64


@dataclass(frozen=True)
class Sample:
    """One biometric data block and what is known about it.

    Attributes:
        type: as in the catalogue.
        subtype: which finger, which eye.
        bdb: the data block.
        info: description as in the JSON form.
        sb: the security block.
    """

    type: str
    subtype: tuple[str, ...]
    bdb: bytes = field(repr=False)
    info: dict[str, Any] = field(repr=False, default_factory=dict)
    sb: bytes = field(repr=False, default=b"")

    @property
    def picture(self) -> bytes:
        """The picture of a face, out of its record.

        Raises:
            Refused: INVALID_BIR, UNKNOWN_FORMAT.
        """
        if _is_record(self.bdb):
            reading = facerecord.read if self.bdb[:4] == facerecord.MAGIC else faceblock.read
            try:
                return reading(self.bdb).faces[0].image
            except facerecord.Broken as error:
                raise Refused("INVALID_BIR", str(error)) from error
        if facerecord.picture_kind(self.bdb) is None and self.bdb[:4] != b"RIFF" and self.bdb[4:8] != b"ftyp":
            raise Refused("UNKNOWN_FORMAT", "neither a face record nor a picture")
        return self.bdb

    def json(self) -> dict[str, Any]:
        """The JSON form."""
        made: dict[str, Any] = {"birInfo": {"integrity": False}, "bdbInfo": self.info}
        made["bdb"] = b64encode(self.bdb).decode()
        if self.sb:
            made["sb"] = b64encode(self.sb).decode()
        return made


class Reader:
    """Reads BIRs for one gate."""

    def __init__(self, catalogue: Catalogue, signers: Keys | None = None, *, signed_only: bool = False) -> None:
        self._catalogue = catalogue
        self._signers = signers
        self._signed_only = signed_only

    def one(self, bir: dict[str, Any]) -> Sample:
        """The one sample of a BIR that is compared or looked at: the face, where there are several.

        Raises:
            Refused: INVALID_BIR, UNKNOWN_FORMAT, BIOMETRIC_TYPE_NOT_SUPPORTED, BIR_*_FAILURE.
        """
        samples = self.all(bir)
        face = next((each for each in samples if each.type == FACE), None)
        if face is None:
            raise Refused("BIOMETRIC_TYPE_NOT_SUPPORTED", "only faces are compared here")
        return face

    def all(self, bir: dict[str, Any]) -> list[Sample]:
        """All samples of a BIR.

        Raises:
            Refused: as ``one``.
        """
        if bir["formatOwner"] != OWNER:
            raise Refused("UNKNOWN_FORMAT", f"patron formats of {bir['formatOwner']} are not read here")
        records = self._records(bir)
        if not 0 < len(records) <= _SAMPLES:
            raise Refused("INVALID_BIR", "no sample, or too many")
        return [self._sample(record) for record in records]

    def _records(self, bir: dict[str, Any]) -> list[dict[str, Any]]:
        match bir["bir"]:
            case {"xml": xml}:
                return self._xml(xml)
            case {"json": plain}:
                return _leaves(plain)
            case {"binary": coded}:
                raw = b64decode(coded)
                start = raw[:64].lstrip()
                if start[:1] == b"<" and not faceblock.is_block(raw):
                    return self._xml(raw)
                if start[:1] == b"{":
                    return self._json(raw)
                return [{"bdbInfo": bir.get("birInformation", {}).get("bdbInfo", {}), "bdb": coded}]
        raise Refused("INVALID_BIR", "addresses are not followed here")

    def _json(self, raw: bytes) -> list[dict[str, Any]]:
        try:
            shape = Field("json", "BIR")
            return _leaves(shaped(self._catalogue, shape, json.loads(raw)))
        except (Misshapen, ValueError, RecursionError) as error:
            raise Refused("INVALID_BIR", "not a JSON BIR") from error

    def _xml(self, text: str | bytes) -> list[dict[str, Any]]:
        try:
            leaves = cbeff.leaves(cbeff.parse(text))
            return [self._leaf(leaf) for leaf in leaves]
        except cbeff.Broken as error:
            raise Refused("INVALID_BIR", str(error)) from error
        except Misshapen as error:
            raise Refused("INVALID_BIR", f"wrong at {error}") from error

    def _leaf(self, node: cbeff.Node) -> dict[str, Any]:
        """An XML leaf in the JSON form."""
        info = node.child("bdbinfo") or cbeff.Node("bdbinfo")
        plain: dict[str, Any] = {}
        for name in ("index", "creationDate", "level", "purpose"):
            if said := info.said(name.lower()):
                plain[name] = said
        if said := info.said("type"):
            plain["type"] = said.split()
        if said := info.said("subtype"):
            plain["subtype"] = _subtypes(said)
        if info.said("format", "type"):
            plain["format"] = {"organization": info.said("format", "organization"), "type": info.said("format", "type")}
        if info.said("encryption").lower() == "true":
            plain["encryption"] = True
        score = info.said("quality", "score")
        if score.isascii() and score.isdigit() and int(score[:4]) <= 100:
            algorithm = {key: info.said("quality", "algorithm", key) or "0" for key in ("organization", "type")}
            plain["quality"] = {"algorithm": algorithm, "score": int(score[:4])}
        record = {"birInfo": {"integrity": False}, "bdbInfo": plain, "bdb": node.said("bdb")}
        if node.said("sb"):
            record["sb"] = node.said("sb")
        made: dict[str, Any] = shaped(self._catalogue, Field("xml", "BIR"), record)
        return made

    def _sample(self, record: dict[str, Any]) -> Sample:
        info = dict(record.get("bdbInfo", {}))
        if info.get("encryption"):
            raise Refused("BIR_DECRYPTION_FAILURE", "this gate holds no key for samples")
        bdb, sb = b64decode(record.get("bdb", "")), b64decode(record.get("sb", ""))
        if not bdb:
            raise Refused("INVALID_BIR", "empty data block")
        kind = _kind(info, bdb)
        self._signature(bdb, sb)
        info["type"] = [kind]
        info.setdefault("format", {"organization": str(OWNER), "type": _format_of(kind)})
        info.setdefault("index", str(uuid.uuid4()))
        return Sample(kind, tuple(info.get("subtype", ())), bdb, info, sb)

    def _signature(self, bdb: bytes, sb: bytes) -> None:
        """Rule 3: a JWS over the block: detached, or with the block or its SHA-256 as payload."""
        if not sb:
            if self._signed_only:
                raise Refused("BIR_SIGNATURE_FAILURE", "samples must be signed here")
            return
        try:
            if self._signers is None:
                raise Invalid("this gate knows no signers")
            _, payload = self._signers.verify(sb.decode("ascii"), detached=bdb)
        except (Invalid, UnicodeDecodeError) as error:
            raise Refused("BIR_SIGNATURE_FAILURE", str(error) if isinstance(error, Invalid) else "not a JWS") from error
        if payload not in (bdb, hashlib.sha256(bdb).digest()):
            raise Refused("BIR_SIGNATURE_FAILURE", "signed is something else")


def wrapped(sample: Sample, *, xml: bool = False) -> dict[str, Any]:
    """A sample as CBEFF_BIR_Type: JSON, or the one XML form."""
    body = {"xml": cbeff.write([sample.json()])} if xml else {"json": sample.json()}
    return {"formatOwner": OWNER, "formatType": XML_PATRON, "birInformation": {"bdbInfo": sample.info}, "bir": body}


def face(picture: bytes, quality: int | None = None) -> Sample:
    """A picture of a face as a sample."""
    info = {"index": str(uuid.uuid4()), "format": {"organization": str(OWNER), "type": _FACE_IMAGE}, "type": [FACE]}
    made: dict[str, Any] = dict(info)
    if quality is not None:
        made["quality"] = {"algorithm": {"organization": "edge-gate", "type": "still-quality-1"}, "score": quality}
    return Sample(FACE, (), picture, made)


def _leaves(plain: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    if depth > 8 or not isinstance(plain, dict):
        raise Refused("INVALID_BIR", "nested too deeply")
    found = [plain] if plain.get("bdb") else []
    for inner in plain.get("bir", ()):
        found += _leaves(inner, depth + 1)
    return found


def _subtypes(said: str) -> list[str]:
    """MOSIP writes "Left IndexFinger"; both words are in the list of the schema."""
    return said.split()


def _kind(info: dict[str, Any], bdb: bytes) -> str:
    """What the block is of, by label and bytes."""
    labels = info.get("type", [])
    registered = info.get("format", {})
    owner = str(registered.get("organization", OWNER)).lower()
    if registered and owner not in _OWNERS:
        raise Refused("UNKNOWN_FORMAT", "a data format of an owner that is not known here")
    said = labels[0] if labels else _FORMATS.get(str(registered.get("type", "")), "")
    seen = _seen(bdb)
    if not said and not seen:
        raise Refused("UNKNOWN_FORMAT", "neither label nor bytes tell what the sample is")
    if said == FACE:
        if registered and registered.get("type") != _FACE_IMAGE and not faceblock.is_block(bdb):
            raise Refused("UNKNOWN_FORMAT", "a face in a data format that is not read here")
        if seen not in (FACE, "", None):
            raise Refused("INVALID_BIR", "the label says face, the bytes say otherwise")
    return said or seen or ""


def _is_record(bdb: bytes) -> bool:
    return bdb[:4] == facerecord.MAGIC or faceblock.is_block(bdb)


def _seen(bdb: bytes) -> str | None:
    """What the bytes say they are of; None for nothing.

    Raises:
        Refused: INVALID_BIR for a finger or iris record whose header is wrong.
    """
    if _is_record(bdb):
        return FACE
    if bdb[:4] in (b"FIR\0", b"FMR\0", b"IIR\0"):
        if bdb[4:8] == b"030\0" and (len(bdb) < 12 or struct.unpack_from(">I", bdb, 8)[0] != len(bdb)):
            raise Refused("INVALID_BIR", "record length differs from the record")
        return "Iris" if bdb[:1] == b"I" else "Finger"
    if bdb[:2] == b"\xff\xa0":
        if bdb[-2:] != b"\xff\xa1":
            raise Refused("INVALID_BIR", "WSQ cut short")
        return "Finger"
    return None


def _format_of(kind: str) -> str:
    return {FACE: _FACE_IMAGE, "Finger": "7", "Iris": "9"}.get(kind, "1")
