"""CBEFF biometric information records as XML: the dialects that are about are read, one form is written.

Rules:

1. No DTD, no entities, no processing instructions; at most ``DEPTH`` levels, ``NODES`` elements, ``LIMIT`` bytes.
2. The namespaces of ISO/IEC 19785-3 and of OASIS BIAS are read; elements of others are passed over, with all in them.
3. Names are read in any casing. An empty subtype is none; times may have nanoseconds.
4. Written is what both the ISO schema and MOSIP's accept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

LIMIT = 2 * 1024 * 1024
DEPTH = 32
NODES = 4096
ISO = "http://standards.iso.org/iso-iec/19785/-3/ed-2/"
BIAS = "http://docs.oasis-open.org/bias/ns/biaspatronformat-1.0/"
_KNOWN = (ISO, BIAS, "")


class Broken(ValueError):  # noqa: N818 -- says what the record is
    """The text is no BIR that we read; the message says why."""


@dataclass
class Node:
    """An element: name in lower case, text, children."""

    name: str
    text: str = field(default="", repr=False)
    children: list[Node] = field(default_factory=list)

    def child(self, name: str) -> Node | None:
        """The first child of that name."""
        return next((each for each in self.children if each.name == name), None)

    def all(self, name: str) -> list[Node]:
        """All children of that name."""
        return [each for each in self.children if each.name == name]

    def said(self, *path: str) -> str:
        """The text of a descendant; empty when it is not there."""
        node: Node | None = self
        for name in path:
            node = None if node is None else node.child(name)
        return "" if node is None else node.text.strip()


def parse(text: str | bytes) -> Node:
    """The BIR in this text.

    Raises:
        Broken: it is none.
    """
    top = elements(text.encode("utf-8", "replace") if isinstance(text, str) else text, _KNOWN.__contains__)
    if top.name != "bir":
        raise Broken("no BIR")
    return top


def elements(raw: bytes, known: Callable[[str], bool]) -> Node:
    """The elements of namespaces that are known; rules 1 to 3.

    Raises:
        Broken: the text is not such XML.
    """
    if len(raw) > LIMIT:
        raise Broken("record too long")
    reader = _Reader(known)
    try:
        reader.read(raw)
    except expat.ExpatError as error:
        raise Broken(f"not well-formed: {expat.errors.messages.get(error.code, 'unknown')}") from error
    except (ValueError, LookupError) as error:
        raise Broken(str(error) if isinstance(error, Broken) else "not XML that is read here") from error
    if reader.top is None:
        raise Broken("no element that is known here")
    return reader.top


class _Reader:
    def __init__(self, known: Callable[[str], bool]) -> None:
        self.top: Node | None = None
        self._known = known
        self._open: list[Node] = []
        self._skipped = 0
        self._nodes = 0

    def read(self, raw: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._forbidden
        parser.EntityDeclHandler = self._forbidden
        parser.ProcessingInstructionHandler = self._forbidden
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(raw, True)

    def _forbidden(self, *_: Any) -> None:
        raise Broken("declarations and instructions are not read")

    def _start(self, name: str, _attributes: Any) -> None:
        namespace, _, local = name.rpartition(" ")
        self._nodes += 1
        if self._nodes > NODES or len(self._open) + self._skipped >= DEPTH:
            raise Broken("too many or too deep elements")
        if self._skipped or not self._known(namespace):
            self._skipped += 1
            return
        node = Node(local.lower())
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.top = node
        self._open.append(node)

    def _end(self, _name: str) -> None:
        if self._skipped:
            self._skipped -= 1
        else:
            self._open.pop()

    def _text(self, text: str) -> None:
        if self._open and not self._skipped:
            self._open[-1].text += text


def leaves(top: Node) -> list[Node]:
    """The records with a biometric data block, whichever way they are nested."""
    found, waiting = [], [top]
    while waiting:
        node = waiting.pop(0)
        if node.child("bdb") is not None:
            found.append(node)
        waiting.extend(each for each in node.children if each.name == "bir")
    return found


def write(records: list[dict[str, Any]]) -> str:
    """Records in the JSON form of ``bir.py`` as one XML BIR."""
    inner = "".join(
        f"<BIR>{_VERSION}<BIRInfo><Integrity>false</Integrity></BIRInfo>{_leaf(each)}</BIR>" for each in records
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<BIR xmlns="{ISO}"><BIRInfo><Integrity>false</Integrity></BIRInfo>{inner}</BIR>'
    )


_VERSION = (
    "<Version><Major>1</Major><Minor>1</Minor></Version><CBEFFVersion><Major>1</Major><Minor>1</Minor></CBEFFVersion>"
)


def _leaf(record: dict[str, Any]) -> str:
    info = record.get("bdbInfo", {})
    made = "<BDBInfo>" + _said("Index", info.get("index")) + _registry("Format", info.get("format"))
    made += _said("CreationDate", info.get("creationDate"))
    made += _said("Type", " ".join(info.get("type", [])) or None)
    made += f"<Subtype>{escape(' '.join(info.get('subtype', [])))}</Subtype>"
    made += _said("Level", info.get("level")) + _said("Purpose", info.get("purpose"))
    quality = info.get("quality")
    if quality and "score" in quality:
        algorithm = _registry("Algorithm", quality.get("algorithm"))
        made += f"<Quality>{algorithm}<Score>{int(quality['score'])}</Score></Quality>"
    made += "</BDBInfo>" + _said("BDB", record.get("bdb")) + _said("SB", record.get("sb"))
    return made


def _said(name: str, text: str | None) -> str:
    return "" if text is None else f"<{name}>{escape(text)}</{name}>"


def _registry(name: str, registry: dict[str, str] | None) -> str:
    if registry is None:
        return ""
    return f"<{name}>{_said('Organization', registry['organization'])}{_said('Type', registry['type'])}</{name}>"
