"""The main loop on simulated devices: who passes, what is written, and what never moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from edge.accesspoint import AccessPoint
from edge.audit.entry import Event, Kind
from edge.credential.issue import SPEC_EXAMPLE, issue
from edge.decision import Policy, pseudonym
from edge.devices.simulated import SimulatedClock, SimulatedGate, SimulatedJournal, SimulatedVision
from edge.doorway import Doorway
from edge.errors import DeviceError, Reason, Refusal
from edge.fill import Fill
from edge.lane import Lane
from edge.passage import Indication
from edge.ports import Receipt
from edge.settings import Gate
from edge.trust.cose import signer
from edge.trust.keys import pinned
from edge.trust.list import Issuer, TrustList
from edge.watch import START_S, Watch

Run = Callable[[Coroutine[Any, Any, Any]], Any]
ISSUER = "https://issuer.example"
KEY, OTHER_KEY = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
NAME, NUMBER, FACE = "Amina Example", "7412589630", b"RIFF\x24\0\0\0WEBPVP8 not really a picture"
PILOT = Policy(
    name="pilot",
    fmr=0.001,
    attack_detection="optional",
    attack_threshold=0.5,
    attack_frames=5,
    capture_s=6.0,
    tries=3,
    eyes_px=60.0,
    sharpness=20.0,
    brightness=(40.0, 225.0),
    clock_floor="accept",
    skew_s=120,
    trust_warn_h=168.0,
    trust_refuse_h=720.0,
    unsealed_h=24.0,
    unsealed_entries=1000,
)


class Standing:
    """A trust list with one issuer, and a log that is sealed."""

    def __init__(self, clock: SimulatedClock) -> None:
        keys = (pinned(KEY.public_key(), None, ["k-1"]),)
        self.list: TrustList | None = TrustList((Issuer((ISSUER,), keys),), 7, clock.moment, None, bytes(32))
        self.waiting: tuple[int, float] = (0, 0.0)

    def trust(self) -> TrustList | None:
        return self.list

    def unsealed(self) -> tuple[int, float]:
        return self.waiting


def _threshold(model: str, among: int) -> float:
    """Measured up to 2,000 people."""
    if among > 2000:
        raise ValueError("not measured")
    return 0.93


class House:
    """One entrance with everything simulated."""

    def __init__(self, pins: Gate, stage: Path, policy: Policy = PILOT) -> None:
        self.clock = SimulatedClock()
        self.journal = SimulatedJournal()
        self.gate = SimulatedGate(pins, stage)
        self.vision = SimulatedVision(self.clock.monotonic)
        self.standing = Standing(self.clock)
        self.watch = Watch(self.journal, self.clock)
        self.clock.go(START_S)
        self.stage = stage
        self.doorway = Doorway(
            self.gate, self.gate, self.gate, self.journal, self.clock, release_s=pins.release_s, held_s=pins.held_s
        )
        self.point = AccessPoint(
            self.vision,
            self.vision,
            self.journal,
            self.clock,
            self.gate,
            self.doorway,
            self.watch,
            self.standing,
            policy,
            lambda model, kind: 0.93,
            partial(pseudonym, bytes(32)),
            result_s=0.05,
            lane=Lane(_threshold, lambda name, now: bytes(reversed(name))) if policy.lane == "gallery" else None,
        )

    def card(self, key: ed25519.Ed25519PrivateKey = KEY, **claims: Any) -> str:
        now = self.clock.moment
        told: dict[str, Any] = {
            "iss": ISSUER,
            "iat": now - timedelta(days=30),
            "exp": now + timedelta(days=300),
            "id": NUMBER,
            "full_name": NAME,
            "face": FACE,
        }
        return issue({k: v for k, v in (told | claims).items() if v is not None}, signer(key, "k-1"), SPEC_EXAMPLE)

    async def visit(self, text: str | DeviceError, *, until: Callable[[], bool] | None = None) -> Event:
        """Show a code and wait for the decision, or for something else."""
        seen = len(self.journal.events)
        self.vision.shown.put_nowait(text)
        done = until or (lambda: any(e.kind in (Kind.GRANTED, Kind.DENIED) for e in self.journal.events[seen:]))
        while not done():  # noqa: ASYNC110 -- the simulated journal has no event
            await asyncio.sleep(0.01)
        return next((e for e in self.journal.events[seen:] if e.kind in (Kind.GRANTED, Kind.DENIED)), Event(Kind.BOOT))


@pytest.fixture
def at_work(pins: Gate, hours: Run, tmp_path: Path) -> Callable[..., None]:
    """Run a story beside the running entrance, in a time of its own: visits take seconds, whatever the machine does."""

    def go(story: Callable[[House], Awaitable[None]], policy: Policy = PILOT) -> None:
        async def beside() -> None:
            house = House(pins, tmp_path, policy)
            parts = [
                asyncio.ensure_future(part) for part in (house.doorway.run(), house.watch.run(), house.point.run())
            ]
            try:
                await story(house)
            finally:
                for part in parts:
                    part.cancel()
                await asyncio.gather(*parts, return_exceptions=True)
                house.gate.close()

        hours(beside())

    return go


Work = Callable[..., None]


def test_the_right_holder_is_written_down_and_then_let_through(at_work: Work) -> None:
    async def story(house: House) -> None:
        order: list[str] = []
        append, unlock = house.journal.append, house.gate.unlock

        async def noted(event: Event) -> Any:
            receipt = await append(event)
            order.append(event.kind.name)
            return receipt

        house.journal.append = noted  # type: ignore[method-assign] # the test looks over the journal's shoulder

        def opened(receipt: Receipt) -> None:
            order.append("unlock")
            unlock(receipt)

        house.gate.unlock = opened  # type: ignore[method-assign] # and over the lock's
        event = await house.visit(house.card())
        assert event.kind is Kind.GRANTED
        while order[-1] != "TAKEN":  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        assert [what for what in order if what != "CONFIGURATION"] == ["GRANTED", "unlock", "TAKEN"]
        assert house.vision.forgotten == 1

    at_work(story)


def test_a_journal_that_is_skipped_leaves_nothing_to_unlock_with(at_work: Work) -> None:
    """Without append there is no receipt, and the lock takes nothing else."""

    async def story(house: House) -> None:
        with pytest.raises(TypeError):
            house.gate.unlock(object())  # type: ignore[arg-type] # what would be left if append were deleted
        assert house.gate.unlocks == 0

    at_work(story)


def test_nothing_opens_when_the_record_cannot_be_kept(at_work: Work) -> None:
    async def story(house: House) -> None:
        house.journal.fault = "disk full"
        await house.visit(house.card(), until=lambda: "journal" in house.watch.conditions())
        await asyncio.sleep(0.1)
        assert house.gate.unlocks == 0
        assert (house.stage / "panel").read_text().strip() == Indication.OUT_OF_SERVICE.value
        house.journal.fault = ""
        await asyncio.sleep(1.5)
        kinds = [e.kind for e in house.journal.events if e.kind is not Kind.CONFIGURATION]
        assert kinds == [Kind.DEVICE_LOST, Kind.NOT_TAKEN, Kind.DEVICE_BACK]
        await house.visit(house.card())
        assert house.journal.events[-1].kind in (Kind.GRANTED, Kind.TAKEN)

    at_work(story)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1_600_000_000}, Reason.EXPIRED),
        ({"iss": "https://nobody.example"}, Reason.UNKNOWN_ISSUER),
        ({"face": None}, Reason.NO_REFERENCE),
    ],
)
def test_a_card_against_which_something_stands_never_reaches_the_camera(
    at_work: Work, claims: dict[str, Any], reason: Reason
) -> None:
    async def story(house: House) -> None:
        event = await house.visit(house.card(**claims))
        assert event.fields["reason"] == reason.code
        assert house.vision.wanted == []
        assert house.gate.unlocks == 0

    at_work(story)


def test_a_forged_card_is_refused(at_work: Work) -> None:
    async def story(house: House) -> None:
        event = await house.visit(house.card(OTHER_KEY))
        assert event.fields["reason"] == Reason.BAD_SIGNATURE.code

    at_work(story)


def test_something_else_than_a_card_is_refused(at_work: Work) -> None:
    async def story(house: House) -> None:
        event = await house.visit("https://example.org/menu")
        assert event.fields["reason"] == Reason.NOT_A_CREDENTIAL.code

    at_work(story)


@pytest.mark.parametrize(
    "outcome",
    [
        Refusal(Reason.NO_PROBE),
        Refusal(Reason.SEVERAL_FACES),
        Refusal(Reason.PROBE_QUALITY),
        DeviceError("camera", "no frame for 2 s"),
        DeviceError("models", "session failed"),
    ],
)
def test_whatever_stops_the_camera_denies_and_is_forgotten(at_work: Work, outcome: Refusal | DeviceError) -> None:
    async def story(house: House) -> None:
        house.vision.probe_outcome = outcome
        event = await house.visit(house.card())
        expected = (
            outcome.reason.code if isinstance(outcome, Refusal) else f"{outcome.device}-fault".replace("ls-", "l-")
        )
        assert event.fields["reason"] == expected
        assert house.gate.unlocks == 0
        assert house.vision.forgotten == 1

    at_work(story)


def test_another_person_is_refused_and_after_three_tries_a_person_decides(at_work: Work) -> None:
    async def story(house: House) -> None:
        house.vision.score = 0.5
        reasons = [(await house.visit(house.card())).fields["reason"] for _ in range(4)]
        assert reasons == [Reason.NO_MATCH.code] * 3 + [Reason.REFERRED.code]
        house.clock.go(601)
        house.vision.score = 0.95
        assert (await house.visit(house.card())).kind is Kind.GRANTED

    at_work(story)


def test_a_photo_is_refused_where_attacks_are_looked_for(at_work: Work) -> None:
    async def story(house: House) -> None:
        house.vision.bona_fide = 0.01
        event = await house.visit(house.card())
        assert event.fields["reason"] == Reason.PRESENTATION_ATTACK.code

    at_work(story, replace(PILOT, name="turnstile", attack_detection="required"))


def test_a_profile_that_asks_for_attack_detection_does_not_serve_without_it(at_work: Work) -> None:
    async def story(house: House) -> None:
        event = await house.visit(house.card())
        assert event.fields["reason"] == Reason.NO_ATTACK_DETECTION.code
        assert event.fields["attacks_detected"] is False

    at_work(story, replace(PILOT, name="turnstile", attack_detection="required"))


@pytest.mark.parametrize(("trust", "waiting"), [(False, (0, 0.0)), (True, (2000, 0.0)), (True, (1, 90_000.0))])
def test_without_trust_or_seal_nobody_passes(at_work: Work, trust: bool, waiting: tuple[int, float]) -> None:
    async def story(house: House) -> None:
        house.standing.waiting = waiting
        if not trust:
            house.standing.list = None
        event = await house.visit(house.card())
        expected = Reason.UNSEALED_TOO_LONG if trust else Reason.NO_TRUST
        assert event.fields["reason"] == expected.code
        assert house.gate.unlocks == 0

    at_work(story)


def test_which_models_look_is_written_down_once_before_anybody_comes(at_work: Work) -> None:
    async def story(house: House) -> None:
        await house.visit(house.card())
        await house.visit(house.card())
        told = [e.fields for e in house.journal.events if e.kind is Kind.CONFIGURATION]
        assert [fields["attacks_detected"] for fields in told] == [False]
        assert house.journal.events[0].kind is Kind.CONFIGURATION

    at_work(story)


def test_an_old_trust_list_is_none(at_work: Work) -> None:
    async def story(house: House) -> None:
        house.clock.moment += timedelta(days=31)
        event = await house.visit(house.card())
        assert event.fields["reason"] == Reason.NO_TRUST.code

    at_work(story)


def test_whom_an_operator_lets_in_is_shown_that_it_is_open(at_work: Work) -> None:
    async def story(house: House) -> None:
        receipt = await house.journal.append(Event(Kind.OVERRIDE))
        going = asyncio.ensure_future(house.doorway.let_through(receipt))
        await asyncio.sleep(0.3)
        assert (house.stage / "panel").read_text().strip() == Indication.WELCOME.value
        assert await going in (Kind.TAKEN, Kind.NOT_TAKEN)
        await asyncio.sleep(0.3)
        assert (house.stage / "panel").read_text().strip() == Indication.READY.value

    at_work(story)


def test_the_camera_fails_while_nobody_is_there_and_comes_back(at_work: Work) -> None:
    async def story(house: House) -> None:
        await house.visit(DeviceError("camera", "frozen"), until=lambda: bool(house.watch.out_of_service()))
        assert (await house.visit(house.card())).kind is Kind.GRANTED
        await asyncio.sleep(0.05)
        kinds = [e.kind for e in house.journal.events if e.kind in (Kind.DEVICE_LOST, Kind.DEVICE_BACK)]
        assert kinds == [Kind.DEVICE_LOST, Kind.DEVICE_BACK]

    at_work(story)


def test_an_entry_and_the_log_line_hold_nobody_s_name_number_or_face(
    at_work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(house: House) -> None:
        caplog.set_level("DEBUG")
        text = house.card()
        house.vision.score = 0.2
        await house.visit(text)
        house.vision.score = 0.99
        await house.visit(text)
        written = repr([vars(event) for event in house.journal.events]) + caplog.text
        for secret in (NAME, NUMBER, text[:40], repr(FACE)[2:20]):
            assert secret not in written

    at_work(story)


def test_the_pseudonym_is_the_same_for_one_holder_and_another_next_month(at_work: Work) -> None:
    async def story(house: House) -> None:
        first = (await house.visit(house.card())).subject
        again = (await house.visit(house.card())).subject
        somebody_else = (await house.visit(house.card(id="1"))).subject
        house.clock.moment += timedelta(days=20)
        later = (await house.visit(house.card())).subject
        assert first == again
        assert len({first, somebody_else, later}) == 3

    at_work(story)


def test_the_next_person_is_served_only_when_the_one_before_is_out_of_the_way(at_work: Work, pins: Gate) -> None:
    async def story(house: House) -> None:
        (house.stage / "person").write_text("stays")
        first = asyncio.ensure_future(house.visit(house.card()))
        while not house.gate.unlocked:  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        house.gate.sense(pins.beam_1_pin, broken=True)
        house.gate.sense(pins.beam_2_pin, broken=True)  # stands in the second beam
        await first
        second = asyncio.ensure_future(house.visit(house.card()))
        await asyncio.sleep(0.5)
        assert not second.done()
        house.gate.sense(pins.beam_1_pin, broken=False)
        house.gate.sense(pins.beam_2_pin, broken=False)
        assert (await second).kind is Kind.GRANTED
        assert house.gate.unlocks == 2

    at_work(story)


# cards without a face, and lanes without cards

WITH_GALLERY = replace(PILOT, gallery="staff")
STAFF = replace(PILOT, gallery="staff", lane="gallery", attack_detection="required")
CLAIM = f"{ISSUER} {NUMBER}"


def test_a_card_without_a_face_lets_in_whom_the_gallery_knows(at_work: Callable[..., None]) -> None:
    async def story(house: House) -> None:
        house.vision.known = [CLAIM]
        decision = await house.visit(house.card(face=None))
        assert decision.kind is Kind.GRANTED
        assert decision.fields["kind"] == "gallery"
        facts: Any = decision.fields["facts"]
        assert (facts["reference"], facts["enrolled"]) == (False, True)
        assert NUMBER not in repr(decision)

    at_work(story, WITH_GALLERY)


@pytest.mark.parametrize(
    ("given", "policy", "reason"),
    [
        ({"known": []}, WITH_GALLERY, Reason.NOT_ENROLLED),
        ({"known": [CLAIM]}, PILOT, Reason.NO_REFERENCE),
        ({"known": [CLAIM], "score": 0.5}, WITH_GALLERY, Reason.NO_MATCH),
        ({"known": [f"https://elsewhere.example {NUMBER}"]}, WITH_GALLERY, Reason.NOT_ENROLLED),
        ({"gallery_outcome": Refusal(Reason.GALLERY_FAULT, "locked")}, WITH_GALLERY, Reason.GALLERY_FAULT),
        ({"gallery_outcome": DeviceError("camera", "gone")}, WITH_GALLERY, Reason.CAMERA_FAULT),
    ],
)
def test_a_card_without_a_face_is_refused_for_its_reason(
    at_work: Callable[..., None], given: dict[str, Any], policy: Policy, reason: Reason
) -> None:
    async def story(house: House) -> None:
        vars(house.vision).update(given)
        decision = await house.visit(house.card(face=None))
        assert (decision.kind, decision.fields["reason"]) == (Kind.DENIED, reason.code)
        assert house.gate.unlocks == 0

    at_work(story, policy)


def test_the_gallery_is_not_asked_about_a_card_with_a_face(at_work: Callable[..., None]) -> None:
    async def story(house: House) -> None:
        house.vision.gallery_outcome = Refusal(Reason.GALLERY_FAULT, "locked")
        assert (await house.visit(house.card())).kind is Kind.GRANTED

    at_work(story, WITH_GALLERY)


def test_nobody_is_asked_to_look_whom_the_gallery_does_not_know(at_work: Callable[..., None]) -> None:
    async def story(house: House) -> None:
        await house.visit(house.card(face=None))
        assert house.vision.wanted == []

    at_work(story, WITH_GALLERY)


async def _comes(house: House) -> Event:
    """Somebody stands in the lane, and steps away after the decision."""
    seen = len(house.journal.events)
    while not (found := [e for e in house.journal.events[seen:] if e.kind in (Kind.GRANTED, Kind.DENIED)]):  # noqa: ASYNC110 -- the simulated journal has no event
        await asyncio.sleep(0.01)
    house.vision.probe_outcome = Refusal(Reason.NO_PROBE)
    return found[0]


def test_a_lane_without_cards_lets_in_whom_it_recognises(at_work: Callable[..., None]) -> None:
    async def story(house: House) -> None:
        house.vision.known, house.vision.bona_fide = ["amina", "ben"], 0.99
        decision = await _comes(house)
        assert decision.kind is Kind.GRANTED
        facts: Any = decision.fields["facts"]
        assert (facts["score"], facts["threshold"], facts["among"]) == (9500, 9300, 2)
        assert (decision.fields["kind"], decision.fields["gallery"]) == ("gallery", "staff")
        assert decision.subject is not None
        assert b"amina" not in decision.subject

    at_work(story, STAFF)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"score": 0.92}, Reason.NOT_RECOGNISED),
        ({"known": []}, Reason.NOT_RECOGNISED),
        ({"bona_fide": 0.1}, Reason.PRESENTATION_ATTACK),
        ({"bona_fide": None}, Reason.NO_ATTACK_DETECTION),
        ({"known": ["p"] * 3000}, Reason.NOT_MEASURED),
        ({"gallery_outcome": Refusal(Reason.GALLERY_FAULT, "missing")}, Reason.GALLERY_FAULT),
        ({"gallery_outcome": DeviceError("models", "gone")}, Reason.MODEL_FAULT),
    ],
)
def test_a_lane_without_cards_refuses_for_its_reason_and_names_nobody(
    at_work: Callable[..., None], given: dict[str, Any], reason: Reason
) -> None:
    async def story(house: House) -> None:
        vars(house.vision).update({"known": ["amina", "ben"], "bona_fide": 0.99} | given)
        decision = await _comes(house)
        assert (decision.kind, decision.fields["reason"]) == (Kind.DENIED, reason.code)
        if reason is not Reason.PRESENTATION_ATTACK:
            assert decision.subject is None
        assert house.gate.unlocks == 0

    at_work(story, STAFF)


def test_who_only_passes_by_a_lane_is_no_visit(at_work: Callable[..., None]) -> None:
    async def story(house: House) -> None:
        house.vision.known, house.vision.bona_fide = ["amina"], 0.99
        house.vision.probe_outcome = Refusal(Reason.PROBE_QUALITY, "far away")
        await asyncio.sleep(0.3)
        assert not [e for e in house.journal.events if e.kind in (Kind.GRANTED, Kind.DENIED)]
        house.vision.probe_outcome = Refusal(Reason.TASK_NOT_DONE)
        assert (await _comes(house)).fields["reason"] == Reason.TASK_NOT_DONE.code

    at_work(story, STAFF)


def test_a_card_is_nothing_in_a_lane_without_cards(at_work: Callable[..., None]) -> None:
    async def story(house: House) -> None:
        house.vision.probe_outcome = Refusal(Reason.NO_PROBE)
        house.vision.shown.put_nowait(house.card())
        await asyncio.sleep(0.3)
        assert house.vision.shown.qsize() == 1
        assert not [e for e in house.journal.events if e.kind in (Kind.GRANTED, Kind.DENIED)]

    at_work(story, STAFF)


class Lamp:
    """A fill light; ``fault`` stands in the way while it is there."""

    fault: DeviceError | None = None
    lit = False

    def fill(self, *, lit: bool) -> None:
        if self.fault is not None:
            raise self.fault
        self.lit = lit


def test_where_a_light_is_fitted_its_code_is_told_with_the_question_for_the_face(at_work: Work) -> None:
    async def story(house: House) -> None:
        assert (await house.visit(house.card())).kind is Kind.GRANTED
        lamp = Lamp()
        house.point.fill = Fill(lamp, house.clock)
        await house.visit(house.card())
        without, with_it = house.vision.wanted
        assert without.light is None
        assert with_it.light is not None
        assert not lamp.lit

    at_work(story)


def test_a_light_that_fails_denies_the_visit_and_not_the_next_one(at_work: Work) -> None:
    async def story(house: House) -> None:
        lamp = Lamp()
        lamp.fault = DeviceError("gate", "GPIO: no such line")
        house.point.fill = Fill(lamp, house.clock)
        event = await house.visit(house.card())
        assert event.kind is Kind.DENIED
        assert event.fields["detail"] == "GPIO: no such line"
        assert not house.watch.out_of_service()
        lamp.fault = None
        assert (await house.visit(house.card())).kind is Kind.GRANTED
        assert house.watch.conditions()["light"][0]

    at_work(story)


def _panel(house: House) -> str:
    return (house.stage / "panel").read_text().strip()


def _lights(house: House) -> list[Indication]:
    """What the lights show from now on, one after the other."""
    shown: list[Indication] = []
    show = house.gate.show

    def noted(indication: Indication) -> None:
        shown.append(indication)
        show(indication)

    house.gate.show = noted  # type: ignore[method-assign] # the test reads the lights, too
    return shown


def test_a_card_does_not_silence_the_alarm_and_is_looked_at_when_it_is_over(at_work: Work, pins: Gate) -> None:
    async def story(house: House) -> None:
        await asyncio.sleep(0.3)
        house.gate.sense(pins.door_pin, broken=True)
        while not house.doorway.alarmed:  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        shown = _lights(house)
        house.vision.shown.put_nowait(house.card())
        await asyncio.sleep(3.0)
        assert set(shown) == {Indication.ALARM}
        assert house.vision.shown.empty()
        assert house.vision.wanted == [], "nobody is led through a visit at a gate that cannot open"
        house.gate.sense(pins.door_pin, broken=False)
        while Kind.TAKEN not in [event.kind for event in house.journal.events]:  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        assert shown[-1] in (Indication.WELCOME, Indication.READY)

    at_work(story)


def test_whose_card_was_shown_long_before_the_alarm_was_over_is_waited_for_no_more(at_work: Work, pins: Gate) -> None:
    async def story(house: House) -> None:
        await asyncio.sleep(0.3)
        house.gate.sense(pins.door_pin, broken=True)
        while not house.doorway.alarmed:  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        shown = _lights(house)
        house.vision.shown.put_nowait(house.card(id="1"))
        while not house.vision.shown.empty():  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        house.clock.go(60)
        house.gate.sense(pins.door_pin, broken=False)
        assert (await house.visit(house.card(id="2"))).kind is Kind.GRANTED
        assert shown.count(Indication.REFUSED) == 1, "the first one may be held up still, and counts once"
        assert Kind.DENIED not in [event.kind for event in house.journal.events]
        assert len(house.vision.wanted) == 1

    at_work(story)


def test_an_alarm_that_begins_while_somebody_is_looked_at_stays_on_the_panel(at_work: Work, pins: Gate) -> None:
    async def story(house: House) -> None:
        looks, seen = asyncio.Event(), asyncio.Event()
        real = house.vision.compare

        async def slow(reference: Any, probe: Any) -> Any:
            looks.set()
            await seen.wait()
            return await real(reference, probe)

        house.vision.compare = slow  # type: ignore[method-assign] # somebody who takes their time
        house.vision.score = 0.5
        visit = asyncio.ensure_future(house.visit(house.card()))
        await looks.wait()
        house.gate.sense(pins.door_pin, broken=True)
        while not house.doorway.alarmed:  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        seen.set()
        assert (await visit).fields["reason"] == Reason.NO_MATCH.code
        await asyncio.sleep(1.0)
        assert _panel(house) == Indication.ALARM.value
        house.gate.sense(pins.door_pin, broken=False)
        while _panel(house) != Indication.READY.value:  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)

    at_work(story)


def test_who_is_granted_while_somebody_leaves_is_welcomed_when_it_opens(at_work: Work, pins: Gate) -> None:
    async def story(house: House) -> None:
        shown: list[tuple[Indication, bool]] = []
        show = house.gate.show

        def noted(indication: Indication) -> None:
            shown.append((indication, house.gate.unlocked))
            show(indication)

        house.gate.show = noted  # type: ignore[method-assign] # the test reads the lights, too
        house.gate.sense(pins.beam_2_pin, broken=True)
        while house.doorway.is_clear():  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        assert (await house.visit(house.card())).kind is Kind.GRANTED
        await asyncio.sleep(0.5)
        assert _panel(house) == Indication.STEP_BACK.value
        house.gate.sense(pins.beam_2_pin, broken=False)
        while Kind.TAKEN not in [event.kind for event in house.journal.events]:  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        assert [unlocked for indication, unlocked in shown if indication is Indication.WELCOME][:1] == [True]

    at_work(story)


def test_in_a_lane_without_cards_nobody_is_recognised_who_was_seen_during_an_alarm(
    at_work: Callable[..., None], pins: Gate
) -> None:
    async def story(house: House) -> None:
        house.vision.known, house.vision.bona_fide = ["amina"], 0.99
        house.vision.probe_outcome = Refusal(Reason.NO_PROBE)
        await asyncio.sleep(0.3)
        house.gate.sense(pins.door_pin, broken=True)
        while not house.doorway.alarmed:  # noqa: ASYNC110 -- a state, not an event
            await asyncio.sleep(0.01)
        house.vision.probe_outcome, forgotten = None, house.vision.forgotten
        await asyncio.sleep(1.0)
        assert _panel(house) == Indication.ALARM.value
        assert house.vision.forgotten > forgotten
        house.vision.probe_outcome = Refusal(Reason.NO_PROBE)
        house.gate.sense(pins.door_pin, broken=False)
        await asyncio.sleep(1.0)
        assert not [e for e in house.journal.events if e.kind in (Kind.GRANTED, Kind.DENIED)]

    at_work(story, STAFF)


def test_in_a_lane_without_cards_nobody_is_recognised_while_an_operator_lets_somebody_in(
    at_work: Callable[..., None],
) -> None:
    async def story(house: House) -> None:
        house.vision.known, house.vision.bona_fide = ["amina"], 0.99
        house.point.turn.take()
        await asyncio.sleep(1.0)
        assert not [e for e in house.journal.events if e.kind in (Kind.GRANTED, Kind.DENIED)]
        assert house.vision.forgotten > 0
        seen_before = len(house.vision.wanted)
        house.point.turn.give_back()
        assert (await _comes(house)).kind is Kind.GRANTED
        assert len(house.vision.wanted) > seen_before, "another look: whoever stood there may have gone in"

    at_work(story, STAFF)


def test_a_light_that_cannot_be_switched_while_nobody_is_there_ends_the_service(
    pins: Gate, hours: Run, tmp_path: Path
) -> None:
    """As at any other moment: systemd starts it again, and nobody takes dead lights for a gate that works."""

    async def story() -> None:
        house = House(pins, tmp_path)
        try:
            serving = asyncio.ensure_future(house.point.run())
            await asyncio.sleep(0.5)
            show, fails = house.gate.show, [True]

            def once(indication: Indication) -> None:
                if fails and fails.pop():
                    raise DeviceError("gate", "GPIO: no answer, once")
                show(indication)

            house.gate.show = once  # type: ignore[method-assign] # one failed write
            with pytest.raises(ExceptionGroup) as failed:
                await asyncio.wait_for(serving, 60)
            assert failed.group_contains(DeviceError, match="no answer, once")
        finally:
            house.gate.close()

    hours(story())


def test_a_lock_down_while_somebody_is_looked_at_lets_them_in_no_more(at_work: Work) -> None:
    async def story(house: House) -> None:
        closed = False
        house.point.locked_down = lambda: closed
        compare = house.vision.compare

        async def meanwhile(reference: Any, probe: Any) -> Any:
            nonlocal closed
            closed = True
            return await compare(reference, probe)

        house.vision.compare = meanwhile  # type: ignore[method-assign] # the order comes just then
        event = await house.visit(house.card())
        assert (event.kind, event.fields["reason"]) == (Kind.DENIED, Reason.LOCKED_DOWN.code)
        assert house.gate.unlocks == 0

    at_work(story)


def test_whom_an_operator_let_in_and_who_did_not_pass_is_told_to_step_back_as_long_as_they_are_in_the_way(
    at_work: Work, pins: Gate
) -> None:
    async def story(house: House) -> None:
        def told() -> str:
            return (house.stage / "panel").read_text().strip()

        (house.stage / "person").write_text("stays")
        order = asyncio.ensure_future(house.doorway.let_through(await house.journal.append(Event(Kind.OVERRIDE))))
        await asyncio.sleep(0.3)
        assert told() == Indication.WELCOME.value
        house.gate.sense(pins.beam_2_pin, broken=True)  # somebody comes the other way
        assert await order is Kind.NOT_TAKEN
        await asyncio.sleep(0.5)
        assert told() == Indication.STEP_BACK.value
        house.gate.sense(pins.beam_2_pin, broken=False)
        await asyncio.sleep(0.5)
        assert told() == Indication.READY.value

    at_work(story)
