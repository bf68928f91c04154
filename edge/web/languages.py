"""The sentences of the kiosk, one table per language.

Rules:

1. A language is a file ``words/<code>.toml``; adding one changes no code. A test asks each for every screen and reason.
2. A reason that a table lacks (a newer log than this release) is said with the screen's own sentence, never not at all.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

from edge.web.kiosk import Face, Screen

CONNECTING, HANDED_OUT = "connecting", "welcome-dispenser"


@dataclass(frozen=True)
class Saying:
    """What is so, and what to do next."""

    say: str
    step: str


@dataclass(frozen=True)
class Language:
    """All sentences in one language; ``direction`` is ``ltr`` or ``rtl``; ``pilot``: attacks are not detected."""

    code: str
    name: str
    direction: str
    pilot: str
    receipt: Saying
    screens: Mapping[str, Saying] = field(repr=False)
    reasons: Mapping[str, Saying] = field(repr=False)
    hints: Mapping[str, Saying] = field(repr=False)

    def of(self, face: Face) -> Saying:
        """What to say on this screen."""
        plain = self.screens[face.screen.value]
        if face.hint is not None:
            return self.hints.get(face.hint.value, plain)
        saying = self.reasons.get(face.reason.code, plain) if face.reason is not None else plain
        return saying if saying.step else Saying(saying.say, plain.step)

    def at_dispenser(self) -> Language:
        """As it is said where something is handed out and nobody goes through."""
        return replace(self, screens={**self.screens, Screen.WELCOME.value: self.screens[HANDED_OUT]})

    def connecting(self) -> Saying:
        """What to say while the page has lost its server."""
        return self.screens[CONNECTING]


class UnknownLanguageError(ValueError):
    """The configuration names a language that has no table."""


def known() -> tuple[str, ...]:
    """Codes of the languages at hand."""
    names = (file.name for file in resources.files("edge.web").joinpath("words").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load(codes: Iterable[str]) -> tuple[Language, ...]:
    """These languages, in this order.

    Raises:
        UnknownLanguageError: one has no table; the message names it and those at hand.
    """
    at_hand = known()
    wanted = tuple(dict.fromkeys(codes)) or ("en",)
    for code in wanted:
        if code not in at_hand:
            raise UnknownLanguageError(f"web.languages: no words for {code!r}; at hand: {', '.join(at_hand)}")
    return tuple(_load(code) for code in wanted)


def handed_out(codes: Iterable[str]) -> tuple[Language, ...]:
    """As ``load``, for a gate where something is handed out."""
    return tuple(language.at_dispenser() for language in load(codes))


@cache
def _load(code: str) -> Language:
    text = resources.files("edge.web").joinpath("words", f"{code}.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return Language(
        code=code,
        name=table["name"],
        direction=table["direction"],
        pilot=table["pilot"],
        receipt=Saying(*table["receipt"]),
        screens=_sayings(table["screen"]),
        reasons=_sayings(table["reason"]),
        hints=_sayings(table["hint"]),
    )


def _sayings(table: dict[str, Any]) -> dict[str, Saying]:
    return {name: Saying(*lines) for name, lines in table.items()}
