"""Log lines with fields, for journald; plain lines on stderr where there is none.

Rules:

1. Under systemd (``JOURNAL_STREAM`` names our stderr) a line goes to the journal's own socket, with the process, the
   logger, the level, and every ``name=value`` of the line as a field: ``journalctl EDGE_OUTCOME=no-match``.
2. A journal that does not take it loses nothing: the line goes to stderr.
3. What is in a line is what is in its fields; neither names anybody.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator

JOURNAL = "/run/systemd/journal/socket"
_PAIR = re.compile(r"(?:^|\s)([a-z][a-z0-9_]{0,30})=([^\s=]{1,64})(?=\s|$)")
_MOST = 40
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def handler(process: str) -> logging.Handler:
    """Where the lines of this process go."""
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(logging.Formatter(f"{process} %(levelname)s %(name)s: %(message)s"))
    return Journald(process, plain) if _under_journald() else plain


class Journald(logging.Handler):
    """Sends each line as one datagram with its fields."""

    def __init__(self, process: str, otherwise: logging.Handler, path: str = JOURNAL) -> None:
        super().__init__()
        self._process, self._otherwise, self._path = process, otherwise, path
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Rules 1 and 2."""
        try:
            self._channel.sendto(datagram(self._process, record, self.format(record)), self._path)
        except OSError:
            self._otherwise.handle(record)

    def close(self) -> None:
        """Let the socket go."""
        self._channel.close()
        super().close()


def datagram(process: str, record: logging.LogRecord, text: str) -> bytes:
    """One line as journald's native protocol has it (systemd.journal-fields)."""
    return b"".join(_field(name, value) for name, value in _fields(process, record, text))


def _fields(process: str, record: logging.LogRecord, text: str) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", text
    yield "PRIORITY", str(next((number for level, number in _PRIORITIES if record.levelno >= level), 7))
    yield "SYSLOG_IDENTIFIER", process
    yield "EDGE_LOGGER", record.name
    for name, value in _PAIR.findall(record.getMessage())[:_MOST]:
        yield f"EDGE_{name.upper()}", value


def _field(name: str, value: str) -> bytes:
    encoded = value.encode("utf-8", "replace")
    if b"\n" not in encoded:
        return name.encode() + b"=" + encoded + b"\n"
    return name.encode() + b"\n" + len(encoded).to_bytes(8, "little") + encoded + b"\n"


def _under_journald() -> bool:
    """Whether our stderr is the journal's."""
    told = os.environ.get("JOURNAL_STREAM", "")
    try:
        here = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return told == f"{here.st_dev}:{here.st_ino}"
