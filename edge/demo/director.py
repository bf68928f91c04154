"""Plays one visit after another: holds cards up, steps before the camera, reacts to the lights as a person does.

Nothing here talks to the gate: it sees the panel and reads the log, as anybody may, and changes what the camera sees.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import numpy as np

from edge.audit.entry import Entry, Kind
from edge.biometric.values import Hint
from edge.demo import acting, footage, prop
from edge.demo.acting import Acts
from edge.demo.fakes import Fake
from edge.demo.footage import Stand
from edge.demo.layers import Pixels
from edge.demo.planned import Around, Card, Flaw, Visit, said
from edge.demo.screen import ScreenReader
from edge.demo.stage import Stage
from edge.errors import DeviceError, Reason
from edge.passage import Indication

T = TypeVar("T")
_LOOK_S = 0.02
_ANSWER_S = 30.0
_PASSAGE_S = 30.0
_DEVICE_S = 30.0
_FURTHER_PX = 92.0  # between the eyes of somebody who may be asked to come closer
_AGAIN_S = 2.0  # after which somebody does again what is still asked
_WALK_ON_S = 0.4  # until the person is out of the beams
_SWAPPED = 2  # frames, after which a photo takes somebody's place
_SETTLED = footage.FRAMES // 2  # the frame in the middle of a clip, when everything has settled
_PAPER, _PLASTIC, _STRANGE = (236, 240, 240), (206, 222, 226), (214, 206, 232)


class Stuck(Exception):  # noqa: N818 -- a finding about the gate, shown in the table
    """The gate did not answer in time; the message says what was waited for."""


@dataclass(frozen=True)
class Outcome:
    """What became of a visit.

    Attributes:
        visit: as planned.
        actual: in the words of ``visits.said``.
        refused: why, if it was refused.
        decision: the entry of the decision; None when there was none.
        passage: the entry of the passage, when granted.
        took_s: from the card in view to the decision in the log.
        notes: what was to be seen around the gate.
        pictures: card and face as the camera saw them; no face where the gate did not ask for one.
    """

    visit: Visit
    actual: str
    refused: Reason | None = None
    decision: Entry | None = None
    passage: Entry | None = None
    took_s: float = 0.0
    notes: tuple[str, ...] = ()
    pictures: tuple[Pixels, ...] = field(default=(), repr=False)

    @property
    def as_expected(self) -> bool:
        """Whether the gate did what it must."""
        return self.actual == self.visit.expected

    def facts(self) -> dict[str, int]:
        """What the decision rested on, as it stands in the entry: scores in ten-thousandths."""
        return _numbers(self.decision, "facts")

    def stages(self) -> dict[str, int]:
        """Microseconds per stage, commit and relay included."""
        return stages_of(self.decision, self.passage)


@dataclass(frozen=True)
class Prepared:
    """A visit whose footage is in RAM."""

    visit: Visit
    pictures: tuple[Pixels, ...] = field(repr=False)


class Director:
    """Directs visits on a stage."""

    def __init__(self, stage: Stage, screen: ScreenReader | None = None) -> None:
        """``screen`` is what people read who are asked to do something; None where nobody is."""
        self._stage = stage
        self._screen = screen
        self._next = 0  # first entry of the log that no visit has looked at yet

    def open(self) -> None:
        """The lobby, nobody there."""
        footage.write(self._stage.scene / "nobody.npy", footage.face_clip(self._stage.wanted.portraits, (), seed=0))
        self._stage.play("nobody")

    def visits(self, planned: tuple[Visit, ...]) -> Iterator[Outcome]:
        """Play them in order; the footage of the next is composed while the present one is played."""
        with ThreadPoolExecutor(1, "footage") as painter:
            ready = painter.submit(self._prepare, planned[0], 1)
            for number, _ in enumerate(planned, 1):
                prepared = ready.result()
                if number < len(planned):
                    ready = painter.submit(self._prepare, planned[number], number + 1)
                yield self._played(prepared)

    def walk_through(self, clip: str) -> dict[str, int]:
        """Play a clip with card and face in it, once the gate is ready; microseconds per stage of the passage.

        Raises:
            Stuck: nobody was let through.
        """
        self._await_light({Indication.READY}, "the gate to be ready")
        self._next = self._stage.log.size()
        self._stage.play(clip)
        decision = self._await_entry((Kind.GRANTED, Kind.DENIED), _ANSWER_S)
        if decision.kind is not Kind.GRANTED:
            self._stage.play("nobody")
            refused = _reason(decision)
            raise Stuck(f"a passage, and was refused: {refused.code if refused else 'no reason'}")
        self._stage.play("nobody")
        passage = self._await_entry((Kind.TAKEN, Kind.NOT_TAKEN), _PASSAGE_S)
        if passage.kind is not Kind.TAKEN:
            raise Stuck("a passage, and the gate did not open")
        time.sleep(_WALK_ON_S)
        return stages_of(decision, passage)

    def _prepare(self, visit: Visit, seed: int) -> Prepared:
        stage, portraits = self._stage, self._stage.wanted.portraits
        held = shown(stage, visit)
        face = footage.face_clip(portraits, self._placed(visit), seed)
        if visit.swapped_in is not None:
            face[_SWAPPED:] = footage.face_clip(portraits, (visit.swapped_in,), seed)[_SWAPPED:]
        if stage.wanted.light and not visit.fed_in:
            np.save(stage.scene / f"{_file(visit)}-face.light.npy", footage.response(portraits, self._placed(visit)))
        clips = {"face": face} if held is None else {"card": footage.card_clip(held, visit.hold, seed), "face": face}
        for name, clip in clips.items():
            footage.write(stage.scene / f"{_file(visit)}-{name}.npy", clip)
        return Prepared(visit, tuple(clip[_SETTLED] for clip in clips.values()))

    def _placed(self, visit: Visit) -> tuple[Stand | Fake, ...]:
        """Where people stand; who may be asked to come closer begins further away."""
        if self._screen is None:
            return visit.stands
        return tuple(
            replace(each, eyes_px=min(each.eyes_px, _FURTHER_PX)) if isinstance(each, Stand) else each
            for each in visit.stands
        )

    def _played(self, prepared: Prepared) -> Outcome:
        visit, name = prepared.visit, _file(prepared.visit)
        notes: list[str] = []
        try:
            self._await_light({Indication.READY}, "the gate to be ready")
            self._next = self._stage.log.size()
            self._before(visit)
            self._stage.person(visit.person)
            began = time.monotonic()
            asked = self._show(name, visit)
            decision = self._await_entry((Kind.GRANTED, Kind.DENIED), _ANSWER_S)
            took_s = time.monotonic() - began
            passage = None
            if visit.around is Around.OVERRULED:
                self._overrule(decision)
            if decision.kind is Kind.GRANTED or visit.around is Around.OVERRULED:
                passage = self._await_entry((Kind.TAKEN, Kind.NOT_TAKEN), _PASSAGE_S)
            self._stage.play("nobody")
            notes += self._after(visit)
        except Stuck as stuck:
            self._stage.play("nobody")
            return Outcome(visit, f"waited for {stuck}", pictures=prepared.pictures)
        finally:
            for part in ("card", "face", "face.light", "act-*"):  # the next visit's clips may be there already
                for clip in self._stage.scene.glob(f"{name}-{part}.npy"):
                    clip.unlink()
        refused = _reason(decision)
        actual = said(refused, _kind(passage), overruled=visit.around is Around.OVERRULED)
        pictures = prepared.pictures if asked else prepared.pictures[:1]
        return Outcome(visit, actual, refused, decision, passage, took_s, tuple(notes), pictures)

    def _overrule(self, decision: Entry) -> None:
        try:
            self._stage.guard.let_in(decision.index)
        except DeviceError as error:
            raise Stuck(f"the operator to be obeyed ({error.message})") from error

    def _show(self, name: str, visit: Visit) -> bool:
        """Hold the card up until the gate answers; then look into the camera, if it asks for that. Whether it did."""
        answers = {Indication.LOOK, Indication.WELCOME, Indication.REFUSED, Indication.OUT_OF_SERVICE}
        if visit.shows is not None:
            self._stage.play(f"{name}-card")
            if self._await_light(answers, "an answer to the card") is not Indication.LOOK:
                return False
        self._stage.play(f"{name}-face", "freeze" if visit.frozen else "loop")
        with self._actor(visit) as actor:
            self._await_light(answers - {Indication.LOOK}, "an answer to the face", meanwhile=actor)
        return True

    @contextlib.contextmanager
    def _actor(self, visit: Visit) -> Iterator[Callable[[], None]]:
        """Somebody alone before a camera that works does something about what the screen asks."""
        match visit.stands:
            case (Stand(),) if self._screen is not None and not visit.frozen and visit.swapped_in is None:
                (stand,) = self._placed(visit)
                assert isinstance(stand, Stand)
                with ThreadPoolExecutor(1, "act") as hands:
                    yield Actor(self._stage, self._screen, stand, visit.acts, _file(visit), hands).look
            case _:
                yield lambda: None

    def _before(self, visit: Visit) -> None:
        match visit.around:
            case Around.BROKER_DOWN:
                self._stage.broker.stop()
            case Around.TOKEN_UNPLUGGED:
                self._stage.token.pull()
            case Around.GATE_KILLED:
                self._stage.kill_gate()
                self._await_entry((Kind.CONFIGURATION,), _DEVICE_S)
                self._await_light({Indication.READY}, "the gate to be ready")
            case Around.DELETED if self._stage.office is not None:
                self._stage.office.delete(self._stage.wanted.enrolled[0])
            case Around.NOTHING | Around.DELETED | Around.OVERRULED:
                pass

    def _after(self, visit: Visit) -> list[str]:
        """Put right what was wrong, and say what the log has of it."""
        match visit.around:
            case Around.BROKER_DOWN:
                self._await_device(Kind.DEVICE_LOST, "broker")
                self._stage.broker.start()
                return ["broker lost, in the log"]
            case Around.TOKEN_UNPLUGGED:
                self._await_device(Kind.DEVICE_LOST, "token")
                self._stage.token.plug()
                self._await_device(Kind.DEVICE_BACK, "token")
                return ["token lost and back, both in the log"]
            case Around.DELETED:
                return ["the deletion is in the log"] if self._find(lambda entry: entry.kind is Kind.GALLERY) else []
            case Around.GATE_KILLED:
                boot = self._await_entry((Kind.BOOT,), _DEVICE_S)
                return [f"the log goes on at entry {boot.index}, after: {_word(boot, 'after')}"]
            case Around.OVERRULED:
                order = self._await_entry((Kind.OVERRIDE,), _DEVICE_S)
                return [f"let in by {_word(order, 'by')}, {_word(order, 'why')}"]
            case Around.NOTHING:
                return []

    def _await_light(
        self, wanted: set[Indication], what: str, meanwhile: Callable[[], None] = lambda: None
    ) -> Indication:
        values = {indication.value: indication for indication in wanted}

        def ask() -> Indication | None:
            meanwhile()
            return values.get(self._stage.panel())

        return _awaited(ask, _ANSWER_S, what)

    def _await_entry(self, kinds: tuple[Kind, ...], within_s: float) -> Entry:
        names = " or ".join(kind.name.lower().replace("_", "-") for kind in kinds)
        return _awaited(lambda: self._find(lambda entry: entry.kind in kinds), within_s, f"an entry {names}")

    def _await_device(self, kind: Kind, device: str) -> Entry:
        def fits(entry: Entry) -> bool:
            return entry.kind is kind and entry.fields.get("device") == device

        return _awaited(lambda: self._find(fits), _DEVICE_S, f"{kind.name.lower().replace('_', '-')} of the {device}")

    def _find(self, fits: Callable[[Entry], bool]) -> Entry | None:
        size = self._stage.log.size()
        return next((entry for entry in self._stage.log.entries(self._next, size - self._next) if fits(entry)), None)


class Actor:
    """Reads the screen and acts; each act is composed when it is asked for, which takes as long as people take."""

    def __init__(
        self, stage: Stage, screen: ScreenReader, stand: Stand, acts: Acts, name: str, hands: ThreadPoolExecutor
    ) -> None:
        self._stage, self._screen, self._acts, self._name = stage, screen, acts, name
        self._stand = self._far = stand
        self._hands = hands  # composing must not keep anybody from seeing the lights
        self._begun: Future[tuple[str, Stand]] | None = None
        self._answered = ""
        self._next_at = 0.0
        self._number = 0

    def look(self) -> None:
        """See what is asked, and do something about it; once more when it is still asked after a while."""
        if self._begun is not None:
            if self._begun.done():
                self._act(*self._begun.result())
                self._begun = None
            return
        hint, now = self._screen.hint, time.monotonic()
        if now < self._next_at or (hint == self._answered and now < self._next_at + _AGAIN_S):
            return
        self._answered = hint
        task = acting.done(self._acts, hint)
        if task is not None:
            frames = partial(acting.clip, self._stage.wanted.portraits, self._stand, task)
            self._begun = self._hands.submit(self._composed, frames, acting.ended(self._stand, task))
        elif hint == Hint.BACK.value:
            frames = partial(acting.back, self._stage.wanted.portraits, self._far)
            self._begun = self._hands.submit(self._composed, frames, self._far)

    def _composed(self, frames: Callable[[int], list[Pixels]], ends: Stand) -> tuple[str, Stand]:
        self._number += 1
        clip = f"{self._name}-act-{self._number}"
        scene = self._stage.scene
        footage.write(scene / f"{clip}.npy", frames(self._number))
        if (answer := scene / f"{self._name}-face.light.npy").exists():
            shutil.copyfile(answer, scene / f"{clip}.light.npy")
        return clip, ends

    def _act(self, clip: str, ends: Stand) -> None:
        self._stage.play(clip, "once")
        self._stand = ends
        self._next_at = time.monotonic() + acting.STEPS / self._stage.wanted.fps


def stages_of(decision: Entry | None, passage: Entry | None) -> dict[str, int]:
    """Microseconds per stage, from the entries of a visit."""
    found = dict(_numbers(decision, "stages"))
    if passage is not None:
        found |= {name.removesuffix("_us"): us for name, us in _own(passage) if name.endswith("_us")}
    return found


def shown(stage: Stage, visit: Visit) -> prop.Prop | None:
    """What the person of this visit holds up."""
    if visit.shows is None:
        return None
    if not isinstance(visit.shows, Card):
        return prop.card(
            visit.shows, "TODAY'S MENU", ("Lunch", "Soup of the day", "Fish or curry", "Apple pie"), _PAPER, "M"
        )
    text = stage.issuers.text(visit.shows, datetime.now(UTC))
    until = "Valid until 2024" if visit.shows.flaw is Flaw.EXPIRED else "Valid until 2031"
    lines = (prop.IDENTITY_CARD, "SPECIMEN", "No. 000 000 001", until)
    if visit.shows.flaw is Flaw.UNKNOWN_ISSUER:
        return prop.card(text, "CARDS OF ELSEWHERE", lines, _STRANGE)
    return prop.card(text, "REPUBLIC OF EXAMPLE", lines, _PLASTIC)


def _awaited(ask: Callable[[], T | None], within_s: float, what: str) -> T:
    end = time.monotonic() + within_s
    while (answer := ask()) is None:
        if time.monotonic() > end:
            raise Stuck(what)
        time.sleep(_LOOK_S)
    return answer


def _file(visit: Visit) -> str:
    return visit.name.replace(" ", "-")


def _reason(decision: Entry) -> Reason | None:
    code = decision.fields.get("reason")
    return next((reason for reason in Reason if reason.code == code), None)


def _word(entry: Entry, name: str) -> str:
    value = entry.fields.get(name)
    return value if isinstance(value, str) else ""


def _kind(entry: Entry | None) -> Kind | None:
    return entry.kind if entry is not None and isinstance(entry.kind, Kind) else None


def _own(entry: Entry) -> list[tuple[str, int]]:
    return [(name, value) for name, value in entry.fields.items() if type(value) is int]


def _numbers(entry: Entry | None, name: str) -> dict[str, int]:
    """A map of numbers in an entry."""
    value = entry.fields.get(name) if entry is not None else None
    return {str(key): item for key, item in value.items() if type(item) is int} if isinstance(value, dict) else {}
