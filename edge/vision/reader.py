"""From a frame to the text of a code: one fast look, and one slower look of another kind per frame.

Rules:

1. Where a code was read less than half a second ago, look there first, in the way that read it: it is cheap, and the
   code moves with a hand. So a code that only one of the slower ways reads is seen to be held up, too.
2. Else look at the whole frame once, fast, and once more in another way, taking turns: enlarged, sharpened (and then
   light on dark, as telephones show codes at night), smoothed and enlarged. So a frame without a code has a known,
   small cost, and a hard code is met by each way within 0.1 s.
3. Once a second the second look is another library (zbar), at the middle three quarters only: it reads a few moire
   frames that nothing else reads, and costs as much as everything else together.
4. Only full QR codes count (model 2). The small variants are read off finder patterns as phantoms.
5. What the text is, is not judged here: a code that is no credential is somebody's answer too. But a short text is
   believed when two frames agree; a long one carries so much error correction that one frame is enough.
6. A code held up longer counts once. It counts again when it was out of sight for a second of frames that were looked
   at: whoever is asked to show a card again takes it away for about so long. What is remembered meanwhile is a keyed
   digest, not the text.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import zxingcpp

from edge.ports import Code
from edge.vision.frames import Frame, Pixels

log = logging.getLogger(__name__)

GONE_S = 1.0
LONG = 100  # characters: shorter texts need two frames
_AGREE_S = 1.0
_ROI_S = 0.5
_SECOND_OPINION_S = 1.0
_NOT_WATCHED_S = 0.5  # a longer gap between looked-at frames proves nothing about absence

_QR = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)

Area = tuple[int, int, int, int]  # left, top, right, bottom
Read = tuple[str, Area]


class CodeReader:
    """Reads codes from frames, in the order of the frames. One thread at a time."""

    def __init__(self) -> None:
        self._presentation = _Presentation()
        self._area: Area | None = None
        self._area_at = 0.0
        self._way: Callable[[Pixels], Read | None] = _fast
        self._turn = 0
        self._second_at = 0.0
        self._zbar = _zbar()
        self._doubtful = ("", 0.0)

    def code(self, frame: Frame) -> Code | None:
        """The code that somebody has just begun to show, if this frame shows it."""
        began = time.perf_counter()
        read = self.look(frame)
        if not self._presentation.begins(read, frame.seen_at):
            return None
        assert read is not None
        return Code(read, frame.number, frame.seen_at, int((time.perf_counter() - began) * 1e6))

    def watch(self, frame: Frame) -> None:
        """Only notice whether the code shown last is still there: cheap, for while faces are looked at."""
        if self._presentation.holds:
            self._presentation.goes_on(self._quick(frame), frame.seen_at)

    def forget(self) -> None:
        """Drop what is known of earlier codes."""
        self._presentation = _Presentation()
        self._area = None
        self._doubtful = ("", 0.0)

    @property
    def holds(self) -> bool:
        """Whether a code is being held up, or was until just now."""
        return self._presentation.holds

    def look(self, frame: Frame) -> str | None:
        """The text of a code in this frame, believed by rule 5."""
        read = self._quick(frame) or self._slow(frame)
        return read if read is not None and self._believed(read, frame.seen_at) else None

    def _quick(self, frame: Frame) -> str | None:
        """Where and how it was read, then everywhere."""
        area = self._recent(frame)
        if area is not None and (text := self._at(self._way, frame, area)):
            return text
        return self._at(_fast, frame, None)

    def _slow(self, frame: Frame) -> str | None:
        """One of the slower ways, in turn."""
        if self._zbar is not None and frame.seen_at - self._second_at >= _SECOND_OPINION_S:
            self._second_at = frame.seen_at
            height, width = frame.y.shape
            middle = width // 8, height // 8, width - width // 8, height - height // 8
            return self._at(self._zbar, frame, middle)
        self._turn = (self._turn + 1) % len(_WAYS)
        return self._at(_WAYS[self._turn], frame, self._recent(frame))

    def _at(self, way: Callable[[Pixels], Read | None], frame: Frame, area: Area | None) -> str | None:
        """Look one way at one part of the frame, and remember where the code was."""
        left, top, right, bottom = area or (0, 0, frame.y.shape[1], frame.y.shape[0])
        found = way(frame.y[top:bottom, left:right])
        if found is None:
            return None
        text, (x0, y0, x1, y1) = found
        self._area, self._area_at = (left + x0, top + y0, left + x1, top + y1), frame.seen_at
        self._way = way if way in _WAYS else _fast
        return text

    def _recent(self, frame: Frame) -> Area | None:
        """Where a code was read just now, with as much around it as a hand moves."""
        if self._area is None or frame.seen_at - self._area_at > _ROI_S:
            return None
        (x0, y0, x1, y1), (height, width) = self._area, frame.y.shape
        margin = max(x1 - x0, y1 - y0) // 3 + 16
        left, top = max(0, x0 - margin), max(0, y0 - margin)
        right, bottom = min(width, x1 + margin), min(height, y1 + margin)
        return (left, top, right, bottom) if right - left > 32 and bottom - top > 32 else None

    def _believed(self, text: str, at: float) -> bool:
        """Long texts at once; short ones when a second frame says the same."""
        if len(text) >= LONG:
            return True
        before, before_at = self._doubtful
        self._doubtful = (text, at)
        return before == text and 0 < at - before_at <= _AGREE_S


class _Presentation:
    """Tells the beginning of a presentation from its continuation."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._held: bytes | None = None
        self._looked_at = 0.0
        self._absent_since: float | None = None

    @property
    def holds(self) -> bool:
        return self._held is not None

    def begins(self, text: str | None, at: float) -> bool:
        """Note what was read at this moment; True when it is a new presentation."""
        digest = self._digest(text)
        if digest is None or digest == self._held:
            self.goes_on(text, at)
            return False
        self._held, self._absent_since, self._looked_at = digest, None, at
        return True

    def goes_on(self, text: str | None, at: float) -> None:
        """Note whether the code is still there; another one is left for later."""
        watched, self._looked_at = at - self._looked_at <= _NOT_WATCHED_S, at
        digest = self._digest(text)
        if digest is not None and digest == self._held:
            self._absent_since = None
        elif self._absent_since is None or not watched:
            self._absent_since = at
        elif at - self._absent_since >= GONE_S:
            self._held = None

    def _digest(self, text: str | None) -> bytes | None:
        return None if text is None else hashlib.blake2b(text.encode(), key=self._key).digest()


def _fast(y: Pixels, *, inverted: bool = False) -> Read | None:
    """zxing-cpp, one symbol, as is: 0.8 ms for 1280x720 without a code, 1.0 where light on dark is tried after it."""
    try:
        found = zxingcpp.read_barcode(
            y,
            formats=_QR,
            try_rotate=False,
            try_downscale=False,
            try_invert=inverted,
            text_mode=zxingcpp.TextMode.Plain,
        )
        if found is None or not found.valid or not found.bytes:
            return None
        text = found.text.encode("utf-8", "replace").decode()
    except (ValueError, RuntimeError):  # nothing that the library makes of hostile pixels may stop the gate
        return None
    corners = (
        found.position.top_left,
        found.position.top_right,
        found.position.bottom_left,
        found.position.bottom_right,
    )
    xs, ys = [corner.x for corner in corners], [corner.y for corner in corners]
    return text, (max(0, min(xs)), max(0, min(ys)), max(xs), max(ys))


def _half(read: Read | None) -> Read | None:
    if read is None:
        return None
    text, (x0, y0, x1, y1) = read
    return text, (x0 // 2, y0 // 2, x1 // 2, y1 // 2)


def _enlarged(y: Pixels) -> Read | None:
    return _half(_fast(_u8(cv2.resize(y, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR))))


def _sharpened(y: Pixels) -> Read | None:
    return _fast(_u8(cv2.addWeighted(y, 2.0, cv2.GaussianBlur(y, (0, 0), 1.5), -1.0, 0)), inverted=True)


def _smoothed(y: Pixels) -> Read | None:
    smooth = cv2.GaussianBlur(y, (0, 0), 0.7)
    return _half(_fast(_u8(cv2.resize(smooth, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))))


def _u8(picture: Any) -> Pixels:
    return np.asarray(picture, np.uint8)


_WAYS = (_enlarged, _sharpened, _smoothed)


def _zbar() -> Callable[[Pixels], Read | None] | None:
    """The second opinion, where its library is installed."""
    try:
        from pyzbar import pyzbar
    except ImportError:
        log.warning("reader: zbar is not installed; codes on screens with moire may need another try")
        return None

    def look(y: Pixels) -> Read | None:
        try:
            found = pyzbar.decode(np.ascontiguousarray(y), symbols=[pyzbar.ZBarSymbol.QRCODE])
        except pyzbar.PyZbarError:
            return None
        if not found or not found[0].data:
            return None
        box = found[0].rect
        area = max(0, box.left), max(0, box.top), box.left + box.width, box.top + box.height
        return found[0].data.decode("utf-8", "replace"), area

    return look
