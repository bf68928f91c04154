"""A visit as it is planned: who comes, with what card, what is wrong around the gate, and what must happen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from edge.audit.entry import Kind
from edge.demo.acting import Acts
from edge.demo.fakes import Fake
from edge.demo.footage import Hold, Stand
from edge.errors import Reason


class Flaw(Enum):
    """What is wrong with a card."""

    NONE = "none"
    ALTERED = "altered"  # one letter of the name, after it was signed
    EXPIRED = "expired"
    UNKNOWN_ISSUER = "unknown-issuer"
    UNKNOWN_KEY = "unknown-key"  # of a trusted issuer


class Dialect(Enum):
    """How the card is written: as in the specification's table, or as in its example."""

    TABLE = "table"
    EXAMPLE = "example"


class Algorithm(Enum):
    """What the card is signed with."""

    EDDSA = "EdDSA"
    ES256 = "ES256"


class Around(Enum):
    """What happens around the gate during the visit."""

    NOTHING = "nothing"
    BROKER_DOWN = "broker-down"
    GATE_KILLED = "gate-killed"  # the process that decides and opens, just before
    OVERRULED = "overruled"  # the refusal, by an operator
    DELETED = "deleted"  # the holder, in the gallery, just before
    TOKEN_UNPLUGGED = "token-unplugged"  # noqa: S105 -- a device, not a secret


@dataclass(frozen=True)
class Card:
    """A card to be issued.

    Attributes:
        portrait: whose face is in it.
        side_px: of the picture in it; width and height.
        picture_bytes: at most.
        crop: of the portrait: 1 is the face as tight as recognisers like it, more leaves more around it.
        gain: light of that picture, 1 is as photographed.
        flaw: what is wrong with it.
        template: bytes of a template of the standard set that stands in it instead of a picture; 0 for a picture.
        photo: whether there is a face in it at all; where there is none, the gallery may know the holder's.
        holder: a word for the person, where it matters that the same one comes again; empty for somebody new.
    """

    portrait: str = "obama"
    side_px: int = 96
    picture_bytes: int = 1200
    dialect: Dialect = Dialect.TABLE
    algorithm: Algorithm = Algorithm.EDDSA
    crop: float = 1.0
    gain: float = 1.0
    flaw: Flaw = Flaw.NONE
    template: int = 0
    photo: bool = True
    holder: str = ""


@dataclass(frozen=True)
class Visit:
    """One visit and its right outcome.

    Attributes:
        name: short, for tables and files.
        story: one sentence, for people.
        shows: a card, or the text of another code; None in a lane without cards.
        stands: who is before the camera afterwards.
        refused: why, when the person must not be admitted; None when admitted.
        hold: how the card is held.
        person: what the person does when the gate unlocks: ``through`` or ``turns-back``.
        around: what happens around the gate.
        needs_detector: whether only a model set with an attack detector can get it right.
        swapped_in: a photo that takes the place of whoever stands there after two frames.
        frozen: whether the camera hangs on one picture once the card was read.
        frames: of a probe that the profile must judge so that this can be told at all; one frame tells no movement.
        acts: what the person does where the profile asks to turn, nod, blink or come closer.
        needs_tasks: whether only a profile that asks for such tasks can get it right.
        fed_in: whether the footage is fed in in place of the camera's, so that the fill light does nothing to it.
        profiles: names of those that it belongs to; empty for all.
    """

    name: str
    story: str
    shows: Card | str | None
    stands: tuple[Stand | Fake, ...] = ()
    refused: Reason | None = None
    hold: Hold = field(default_factory=Hold)
    person: str = "through"
    around: Around = Around.NOTHING
    needs_detector: bool = False
    swapped_in: Fake | None = None
    frozen: bool = False
    frames: int = 1
    acts: Acts = Acts.AS_ASKED
    needs_tasks: bool = False
    fed_in: bool = False
    profiles: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The right outcome in words."""
        passage = Kind.NOT_TAKEN if self.person in STAYS_OUT else Kind.TAKEN
        return said(self.refused, passage, overruled=self.around is Around.OVERRULED)


STAYS_OUT = frozenset({"turns-back", "two-inside", "jams", "empty"})
"""What a person or a dispenser does that ends a granted visit as not taken."""


def under_tasks(visit: Visit) -> Visit:
    """The same visit where tasks are asked for: they come before the judgement, and a picture cannot do them."""
    if visit.refused is Reason.PRESENTATION_ATTACK and not visit.fed_in:
        return replace(visit, refused=Reason.TASK_NOT_DONE)
    return visit


@dataclass(frozen=True)
class Lane:
    """What a lane's profile asks of those who come, as far as it decides which visits it can get right.

    Attributes:
        profile: its name.
        frames: of a probe that it judges.
        tasks: whether it asks people to do something.
        cards: whether people show cards; else it knows who is enrolled.
        detector: whether its models tell a picture from a person.
        light: whether there is a fill light.
    """

    profile: str
    frames: int
    tasks: bool
    cards: bool
    detector: bool
    light: bool

    @classmethod
    def of(cls, profile: str, written: Mapping[str, Any], *, detector: bool, light: bool) -> Lane:
        """The lane of a profile as it stands in its file."""
        frames = written["attack_frames"] if detector else 1
        return cls(profile, frames, bool(written.get("tasks")), written["lane"] != "gallery", detector, light)

    def chosen(self, visits: Iterable[Visit]) -> tuple[Visit, ...]:
        """Those of the visits that it can get right, with the outcome that is right here."""
        return tuple(under_tasks(visit) if self.tasks else visit for visit in visits if self._can(visit))

    def _can(self, visit: Visit) -> bool:
        return (
            (self.detector or not visit.needs_detector)
            and (self.tasks or not visit.needs_tasks)
            and (self.light or not visit.fed_in)
            and not (self.light and visit.swapped_in)  # its code takes longer than the photo stays in this clip
            and visit.frames <= self.frames
            and (visit.shows is not None) == self.cards
            and (not visit.profiles or self.profile in visit.profiles)
        )


def said(refused: Reason | None, passage: Kind | None, *, overruled: bool = False) -> str:
    """An outcome in words: ``granted, taken``, ``denied: expired`` or ``denied: no-match; let in``."""
    if refused is not None:
        after = "let in" if passage is Kind.TAKEN else "not let in"
        return f"denied: {refused.code}" + (f"; {after}" if overruled else "")
    return {Kind.TAKEN: "granted, taken", Kind.NOT_TAKEN: "granted, not taken"}.get(passage or Kind.GRANTED, "granted")
