"""Server-sent events: what is new, to whoever keeps a page open.

``/events`` sends ``entry`` (id: index in the log; a page that comes back names the last one and gets what it missed),
``gap`` when that is more than the board remembers, ``fresh`` when another log than the page's begins, and ``standing``.
``/kiosk/events`` sends ``kiosk``, the newest state only. An id is the index of the entry in the log, with the epoch
before it: ``1-4711``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.audit.entry import Kind
from edge.web.board import Board
from edge.web.charted import latency
from edge.web.drawn import drawn
from edge.web.languages import Language, Saying
from edge.web.machine import Health
from edge.web.standing import ALARMS, QUIET, Told, detail, kind_name, sentence

STANDING_S = 15.0
KIOSK_S = 5.0
FIRST = 50


@dataclass(frozen=True)
class Aloud:
    """What the kiosk may let be heard: tones, sentences."""

    sound: bool = False
    speech: bool = False


async def entries(
    board: Board, seen: tuple[int, int] | None, health: Callable[[], Health] = Health, *, known: bool = True
) -> AsyncIterator[bytes]:
    """Entries after the one ``seen`` (epoch and index), else the newest few; the standing when it changes.

    Args:
        board: where all of it is known.
        seen: what the page has already.
        health: of the machine.
        known: whether the reader is an operator; nobody else learns of ``QUIET`` entries.
    """
    yield b"retry: 1000\n\n"
    log, position, turn = 0, 0, -1
    while not board.closed:
        if turn != board.turn:
            turn = board.turn
            if log != board.log and board.epoch is not None:
                if log or (seen is not None and not _goes_on(board, seen)):
                    yield event("fresh", {})
                log, position = board.log, 0 if log else _first(board, seen)
            news = [told for told in board.recent if told.index >= position] if board.epoch is not None else []
            if news and news[0].index > position:
                yield event("gap", {"from": position, "count": news[0].index - position})
            for told in news:
                position = told.index + 1
                if known or told.kind not in QUIET:
                    yield event("entry", entry(told, board.age_s(told)), f"{board.epoch}-{told.index}")
            yield event("standing", standing(board, health()))
        if not await board.news(turn, STANDING_S):
            yield event("standing", standing(board, health()))


def _first(board: Board, seen: tuple[int, int] | None) -> int:
    """Where a page goes on, or begins."""
    if seen is not None and _goes_on(board, seen):
        return seen[1] + 1
    return max(board.standing.size - FIRST, board.recent[0].index if board.recent else 0)


def _goes_on(board: Board, seen: tuple[int, int]) -> bool:
    """Whether what the page has seen is of the log that is read now."""
    return seen[0] == board.epoch and seen[1] < board.standing.size


async def kiosk(board: Board, languages: Sequence[Language], aloud: Aloud) -> AsyncIterator[bytes]:
    """The screen whenever it changes, and again every few seconds: a page that hears nothing knows it is cut off."""
    yield b"retry: 500\n\n"
    shown, news = None, False
    while not board.closed:
        turn, now = board.turn, (board.face(), board.standing.detects_attacks, board.receipt)
        if now != shown or not news:
            shown = now
            yield event("kiosk", screen(board, languages, aloud))
        news = await board.news(turn, KIOSK_S)


def event(name: str, told: dict[str, Any], number: str = "") -> bytes:
    """One event as the wire has it. JSON holds no line break, so no text can end an event early."""
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {name}\ndata: {json.dumps(told, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def last_event_id(text: str) -> tuple[int, int] | None:
    """The epoch and index that a page names; None when it names none or nonsense."""
    parts = text.split("-")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def screen(board: Board, languages: Sequence[Language], aloud: Aloud) -> dict[str, Any]:
    """What the kiosk shows, in all its languages."""
    face = board.face()
    return {
        "screen": face.screen.value,
        "hint": face.hint.value if face.hint else "",
        "sound": aloud.sound,
        "speech": aloud.speech,
        "notice": languages[0].pilot if board.standing.detects_attacks is False else "",
        "words": [saying(language, language.of(face)) for language in languages],
        "receipt": receipt(board, languages),
    }


def receipt(board: Board, languages: Sequence[Language]) -> dict[str, Any] | None:
    """What whoever was refused may take away: a code to photograph, its number, and what it is."""
    if board.receipt is None:
        return None
    number, text = board.receipt
    words = [saying(language, language.receipt) for language in languages]
    return {"number": number, "words": words, **drawn(text)}


def entry(told: Told, age_s: float | None = None) -> dict[str, Any]:
    """An entry as the operator sees it; ``age_s``: how long ago it was written."""
    return {
        "index": told.index,
        "at": moment(told.at),
        "age_s": age_s if age_s is None else round(age_s, 1),
        "kind": kind_name(told.kind),
        "alarm": told.kind in ALARMS,
        "sentence": sentence(told),
        "visit": told.number("visit"),
        "reason": told.text("reason") if told.kind is Kind.DENIED else "",
        "detail": detail(told),
        "took_ms": round(sum(told.stages_us().values()) / 1000) if told.stages_us() else None,
    }


def standing(board: Board, health: Health) -> dict[str, Any]:
    """The gate as the operator sees it."""
    known, now = board.standing, board.now()
    return {
        "trouble": board.trouble,
        "serving": board.serving(),
        "screen": board.face().screen.value,
        "size": known.size,
        "sealed": board.sealed,
        "newest_at": moment(known.newest_at),
        "booted_at": moment(known.booted_at),
        "profile": known.profile,
        "detects_attacks": known.detects_attacks,
        "trust": known.trust,
        "trust_at": moment(known.trust_at),
        "trust_age_s": _age_s(known.trust_at, now),
        "trust_old": known.trust_old(now),
        "status_at": moment(known.status_at),
        "status_age_s": _age_s(known.status_at, now),
        "overrule_s": known.overrule_s,
        "clock": known.clock,
        "closed": board.locked_down(),
        "celsius": health.celsius,
        "free_bytes": health.free_bytes,
        "used": health.used,
        "busy": board.charted.rows(now),
        "latency": latency(known),
        "granted": known.kinds.get(Kind.GRANTED, 0),
        "denied": known.kinds.get(Kind.DENIED, 0),
        "refusals": dict(sorted(known.refusals.items(), key=lambda item: (-item[1], item[0]))),
        "devices": {
            name: {"ok": device.ok, "since": moment(device.since), "detail": device.detail}
            for name, device in board.devices().items()
        },
    }


def _age_s(at: datetime | None, now: datetime | None) -> int | None:
    return None if at is None or now is None else max(0, int((now - at).total_seconds()))


def saying(language: Language, words: Saying) -> dict[str, str]:
    """A sentence as the kiosk page takes it."""
    return {"lang": language.code, "dir": language.direction, "say": words.say, "step": words.step}


def moment(at: datetime | None) -> str | None:
    """A moment as pages write it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
