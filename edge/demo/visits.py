"""The visits that the demo plays: who comes, with what, and what must happen. Data only.

``VISITS`` is read from top to bottom. Each visit has a card (or another code), the people before the camera, what is
wrong around the gate meanwhile, and the one outcome that is right.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from edge.audit.entry import Kind
from edge.demo.acting import Acts
from edge.demo.fakes import Fake, Medium
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
        return said(self.refused, passage)


STAYS_OUT = frozenset({"turns-back", "two-inside", "jams", "empty"})
"""What a person or a dispenser does that ends a granted visit as not taken."""


def under_tasks(visit: Visit) -> Visit:
    """The same visit where tasks are asked for: they come before the judgement, and a picture cannot do them."""
    if visit.refused is Reason.PRESENTATION_ATTACK and not visit.fed_in:
        return replace(visit, refused=Reason.TASK_NOT_DONE)
    return visit


def said(refused: Reason | None, passage: Kind | None) -> str:
    """An outcome in words: ``granted, taken`` or ``denied: expired``."""
    if refused is not None:
        return f"denied: {refused.code}"
    return {Kind.TAKEN: "granted, taken", Kind.NOT_TAKEN: "granted, not taken"}.get(passage or Kind.GRANTED, "granted")


_HOLDER = Stand("obama2", eyes_px=134.0, at=(640.0, 292.0))
_HOLDER_AGAIN = Stand("obama3", eyes_px=119.0, at=(646.0, 288.0))
_SECOND = Stand("biden", eyes_px=112.0, at=(632.0, 282.0), lean=1.5)
_OTHER = Stand("astronaut", eyes_px=96.0, at=(640.0, 290.0))
_BEHIND = Stand("obama3", eyes_px=92.0, at=(520.0, 300.0))
_BESIDE = Stand("astronaut", eyes_px=92.0, at=(778.0, 312.0))

VISITS: tuple[Visit, ...] = (
    Visit(
        "right holder",
        "The holder shows the card, then the face; the photo was never used for the card.",
        Card(),
        (_HOLDER,),
    ),
    Visit(
        "right holder again",
        "The same holder in another photo, with a card in the other dialect, signed with ES256.",
        Card(dialect=Dialect.EXAMPLE, algorithm=Algorithm.ES256),
        (_HOLDER_AGAIN,),
        hold=Hold(turn=(-10.0, 6.0, -4.0)),
    ),
    Visit(
        "second person",
        "Somebody else with a card of his own (one portrait serves for card and visit, in another crop and light).",
        Card("biden", side_px=64, picture_bytes=800, crop=1.12, gain=0.82),
        (_SECOND,),
    ),
    Visit("borrowed card", "Another person shows the holder's valid card.", Card(), (_OTHER,), Reason.NO_MATCH),
    Visit(
        "altered card",
        "One letter of the name was changed after signing.",
        Card(flaw=Flaw.ALTERED),
        (_HOLDER,),
        Reason.BAD_SIGNATURE,
    ),
    Visit("expired card", "The card's validity has ended.", Card(flaw=Flaw.EXPIRED), (_HOLDER,), Reason.EXPIRED),
    Visit(
        "unknown issuer",
        "A well-made card of somebody who is not on the trust list.",
        Card(flaw=Flaw.UNKNOWN_ISSUER, algorithm=Algorithm.ES256),
        (_HOLDER,),
        Reason.UNKNOWN_ISSUER,
    ),
    Visit(
        "unknown key",
        "The trusted issuer's name, signed with a key that is not on the list.",
        Card(flaw=Flaw.UNKNOWN_KEY, dialect=Dialect.EXAMPLE),
        (_HOLDER,),
        Reason.UNKNOWN_KEY,
    ),
    Visit(
        "photo on paper",
        "Somebody holds a printed photo of the holder before the camera, with the holder's valid card.",
        Card(),
        (Fake("obama2", Medium.PAPER),),
        Reason.PRESENTATION_ATTACK,
        needs_detector=True,
    ),
    Visit(
        "photo on a phone",
        "The same with a photo on the screen of a phone.",
        Card(),
        (Fake("obama", Medium.PHONE),),
        Reason.PRESENTATION_ATTACK,
        needs_detector=True,
    ),
    Visit(
        "photo swapped in",
        "Somebody looks into the camera, then quickly holds the holder's photo before the face.",
        Card(),
        (_OTHER,),
        Reason.PRESENTATION_ATTACK,
        needs_detector=True,
        swapped_in=Fake("obama2", Medium.PHONE),
        frames=3,
        profiles=("pilot", "turnstile", "benefit"),  # where tasks are asked, either reason may come first
    ),
    Visit(
        "film fed in",
        "A good film of the holder is fed in in place of the camera's frames; the fill light does nothing to it.",
        Card(),
        (_HOLDER_AGAIN,),
        Reason.PRESENTATION_ATTACK,
        needs_detector=True,
        fed_in=True,
    ),
    Visit(
        "does as asked",
        "The holder turns, nods, blinks or comes closer, as the screen asks.",
        Card(),
        (_HOLDER,),
        needs_detector=True,
        needs_tasks=True,
    ),
    Visit(
        "does nothing",
        "The holder looks into the camera and does nothing that is asked.",
        Card(),
        (_HOLDER,),
        Reason.TASK_NOT_DONE,
        needs_detector=True,
        acts=Acts.NOTHING,
        needs_tasks=True,
    ),
    Visit(
        "does something else",
        "Somebody does something else than what is asked, as a film of an earlier visit would.",
        Card(),
        (_HOLDER_AGAIN,),
        Reason.TASK_NOT_DONE,
        needs_detector=True,
        acts=Acts.OTHERWISE,
        needs_tasks=True,
    ),
    Visit(
        "frozen camera",
        "The camera hangs on one picture of the holder.",
        Card(),
        (_HOLDER,),
        Reason.CAMERA_FAULT,
        frozen=True,
        frames=2,
    ),
    Visit(
        "template card",
        "A card with a template of 32 bytes instead of a picture.",
        Card(template=32),
        (_HOLDER,),
        needs_detector=True,
    ),
    Visit(
        "borrowed template card",
        "Another person shows the holder's card with a template.",
        Card(template=32),
        (_OTHER,),
        Reason.NO_MATCH,
        needs_detector=True,
    ),
    Visit(
        "no photo, enrolled",
        "A card without a photo; the gallery of the identity services knows its holder.",
        Card(photo=False),
        (_HOLDER,),
        profiles=("pilot",),
    ),
    Visit(
        "no photo, borrowed",
        "Another person shows that card.",
        Card(photo=False),
        (_OTHER,),
        Reason.NO_MATCH,
        profiles=("pilot",),
    ),
    Visit(
        "no photo, unknown",
        "A card without a photo, of somebody who is not enrolled.",
        Card("biden", photo=False),
        (_SECOND,),
        Reason.NOT_ENROLLED,
        profiles=("pilot",),
    ),
    Visit(
        "no photo, deleted",
        "The holder again, who was deleted in the gallery a moment ago.",
        Card(photo=False),
        (_HOLDER,),
        Reason.NOT_ENROLLED,
        around=Around.DELETED,
        profiles=("pilot",),
    ),
    Visit("two faces", "The holder comes with somebody at the side.", Card(), (_BEHIND, _BESIDE), Reason.SEVERAL_FACES),
    Visit("no face", "A valid card, and nobody looks into the camera.", Card(), (), Reason.NO_PROBE),
    Visit(
        "not a card",
        "A code from a poster: a web address.",
        "https://www.example.org/menu/lunch",
        (),
        Reason.NOT_A_CREDENTIAL,
        hold=Hold(module_px=11.0),
    ),
    Visit(
        "hard to read",
        "Small modules, out of focus, in glare, dark: at the edge of readability.",
        Card(side_px=64, picture_bytes=800),
        (_HOLDER,),
        hold=Hold(module_px=2.2, turn=(14.0, -10.0, 6.0), at=(640.0, 300.0), blur=0.83, glare=0.5, gain=0.78),
    ),
    Visit(
        "turns back",
        "The gate opens, and the holder turns back.",
        Card(),
        (_HOLDER,),
        person="turns-back",
        profiles=("pilot", "turnstile", "egate"),
    ),
    Visit(
        "broker down",
        "The holder comes while the message broker is down.",
        Card(),
        (_HOLDER_AGAIN,),
        around=Around.BROKER_DOWN,
    ),
    Visit(
        "token unplugged",
        "The sealing token is pulled out during the visit and comes back later.",
        Card(algorithm=Algorithm.ES256),
        (_HOLDER,),
        around=Around.TOKEN_UNPLUGGED,
    ),
    Visit(
        "goes in",
        "Somebody with a card goes in.",
        Card(holder="north"),
        (_HOLDER,),
        needs_detector=True,
        profiles=("turnstile",),
    ),
    Visit(
        "card handed back",
        "The same card comes again a moment later, handed back over the barrier.",
        Card(holder="north"),
        (_HOLDER,),
        Reason.PASSED_BEFORE,
        needs_detector=True,
        profiles=("turnstile",),
    ),
    Visit(
        "somebody close behind",
        "A second person slips through behind the holder: an alarm, and in the log.",
        Card(),
        (_HOLDER_AGAIN,),
        person="tailgate",
        needs_detector=True,
        profiles=("turnstile",),
    ),
    Visit(
        "dispenser jams",
        "The dispenser jams before anything came out; the reservation is released.",
        Card(holder="rice"),
        (_HOLDER,),
        person="jams",
        needs_detector=True,
        profiles=("benefit",),
    ),
    Visit(
        "receives",
        "The same person again, and the dispenser gives out what is due.",
        Card(holder="rice"),
        (_HOLDER_AGAIN,),
        needs_detector=True,
        profiles=("benefit",),
    ),
    Visit(
        "receives twice",
        "The same person a third time, with another card on the same name.",
        Card(holder="rice", algorithm=Algorithm.ES256),
        (_HOLDER,),
        Reason.ALREADY_RECEIVED,
        needs_detector=True,
        profiles=("benefit",),
    ),
    Visit(
        "two between the doors",
        "Two people squeeze in between the doors: the second door stays shut.",
        Card(),
        (_HOLDER_AGAIN,),
        person="two-inside",
        needs_detector=True,
        profiles=("egate",),
    ),
    Visit(
        "staff",
        "In a lane without cards somebody comes who is enrolled.",
        None,
        (_HOLDER,),
        needs_detector=True,
    ),
    Visit(
        "staff, stranger",
        "Somebody comes who is not enrolled.",
        None,
        (_OTHER,),
        Reason.NOT_RECOGNISED,
        needs_detector=True,
    ),
    Visit(
        "staff, photo on a phone",
        "Somebody holds a photo of an enrolled person into the camera.",
        None,
        (Fake("obama", Medium.PHONE),),
        Reason.PRESENTATION_ATTACK,
        needs_detector=True,
    ),
    Visit(
        "staff, deleted",
        "The first person again, who was deleted in the gallery a moment ago.",
        None,
        (_HOLDER_AGAIN,),
        Reason.NOT_RECOGNISED,
        around=Around.DELETED,
        needs_detector=True,
    ),
)

ENROLLED = ("obama", "biden")
"""Who is in the gallery of a lane without cards; of the others, the first."""
