"""A multipart body, split where its boundary says: a part for each input.

Rules:

1. At most ``MOST`` parts, each with a head of at most ``HEAD`` bytes; a part within a part is text. So splitting costs
   one look at the bytes, whatever they are: it is done in the loop that the pages and the lock-down answer from.
2. The last part is closed. A body that was cut short is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOST = 64
HEAD = 4096
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;",]{1,70}))', re.IGNORECASE)
_AFTER = re.compile(rb"[ \t]{0,8}\r\n")
_NAME = re.compile(rb'^content-disposition:[^\r\n]*;[ \t]*name="?([A-Za-z]{1,64})"?', re.IGNORECASE | re.MULTILINE)
_KIND = re.compile(rb"^content-type:[ \t]*([^\s;]+)", re.IGNORECASE | re.MULTILINE)
_CODED = re.compile(rb"^content-transfer-encoding:[ \t]*(?!7bit|8bit|binary)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Piece:
    """One part.

    Attributes:
        name: of the input.
        kind: media type, lower case, without parameters.
        content: as sent.
    """

    name: str
    kind: str
    content: bytes = field(repr=False)


def parts(header: str, raw: bytes) -> list[Piece]:
    """The parts that have a name, in their order; ``header`` is the content type of the body.

    Raises:
        ValueError: it is no multipart body, or breaks rule 1.

    Source: RFC 2046 5.1.1, RFC 7578; a coded part (deprecated there) is refused.
    """
    said = _BOUNDARY.search(header)
    if said is None:
        raise ValueError("multipart without a boundary")
    mark = b"\r\n--" + (said[1] or said[2]).encode("latin-1", "replace")
    found: list[Piece] = []
    for piece in (b"\r\n" + raw).split(mark, MOST + 1)[1:]:
        if piece.startswith(b"--"):
            return found
        after = _AFTER.match(piece)
        head, blank, content = piece[after.end() - 2 :].partition(b"\r\n\r\n") if after else (b"", b"", b"")
        if not blank or len(head) > HEAD or _CODED.search(head):
            raise ValueError("a part that cannot be read")
        if name := _NAME.search(head):
            kind = _KIND.search(head)
            found.append(Piece(name[1].decode(), kind[1].decode("latin-1").lower() if kind else "text/plain", content))
    raise ValueError(f"more than {MOST} parts, or not closed")
