"""The main loop: one entrance, one person at a time. Read this first.

Rules:

1. Nothing opens before the grant is on disk: unlocking takes the journal's receipt.
2. Checks go from the cheapest and most certain to the camera; the face is asked for only when nothing stands against.
3. A device that fails under a visit denies that visit, says which device it was, and the next person may try.
4. Every visit ends in a decision entry, on the panel and in one log line, and its pictures are forgotten on every path.
5. Nobody is served while an operator lets somebody in, nor lets an operator anybody in meanwhile (``turn.py``).
6. An alarm wins over whatever the panel would show, and while it lasts nobody is served: the gate cannot open, and
   somebody has to come.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from random import SystemRandom
from secrets import token_bytes
from typing import TypeVar

from edge.assistance import offered, overriding
from edge.audit.entry import Event, Kind, Value
from edge.biometric.challenge import drawn
from edge.biometric.values import Comparison, Enrolled, ModelSet, Probe, ProbeQuality, ReferenceKind
from edge.credential import Credential, verify
from edge.decision import AccessDecision, Policy, entry
from edge.doorway import Doorway
from edge.errors import DeviceError, Reason, Refusal
from edge.fill import Fill
from edge.lane import Lane
from edge.passage import Indication
from edge.ports import Bodies, Clock, Code, Faces, Journal, Panel, Reader, Receipt
from edge.premises import Premises
from edge.tries import Tries
from edge.trust.interval import Interval
from edge.trust.list import TrustList
from edge.trust.withdrawn import UNLISTED, Found
from edge.turn import Turn
from edge.visit import NOTHING, Standing, Visit, told
from edge.watch import Watch

_log = logging.getLogger("edge.visit")
_LOOK_S = 0.2
_STILL_THERE_S = 10.0
"""How old a code may be when an alarm ends: whoever showed it is asked to look, and nobody else."""
_UNWRITTEN = "the grant was not written in time"
T = TypeVar("T")
_FAULT = {
    "camera": Reason.CAMERA_FAULT,
    "models": Reason.MODEL_FAULT,
    "journal": Reason.JOURNAL_FAULT,
    "dispenser": Reason.DISPENSER_FAULT,
    "ledger": Reason.DISPENSER_FAULT,
}

Thresholds = Callable[[str, ReferenceKind], float]
"""Score to reach for a model and a kind of reference, at the policy's false match rate."""

Verify = Callable[[str, TrustList, Interval, timedelta], Credential]
"""Code text to verified credential, with what this gate is told about cards."""


class AccessPoint:
    """One entrance."""

    def __init__(
        self,
        reader: Reader,
        faces: Faces,
        journal: Journal,
        clock: Clock,
        panel: Panel,
        doorway: Doorway,
        watch: Watch,
        standing: Standing,
        policy: Policy,
        thresholds: Thresholds,
        pseudonym: Callable[[Credential, Interval], bytes],
        *,
        result_s: float = 1.2,
        withdrawn: Callable[[Credential, Interval], Found] = lambda _card, _now: UNLISTED,
        locked_down: Callable[[], bool] = lambda: False,
        verified: Verify = verify,
        lane: Lane | None = None,
        premises: Premises | None = None,
        fill: Fill | None = None,
        bodies: Bodies | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.reader = reader
        self.faces = faces
        self.journal = journal
        self.clock = clock
        self.panel = panel
        self.doorway = doorway
        self.watch = watch
        self.standing = standing
        self.policy = policy
        self.thresholds = thresholds
        self.pseudonym = pseudonym
        self.result_s = result_s
        self.withdrawn = withdrawn
        self.locked_down = locked_down
        self.verified = verified
        self.lane = lane
        self.premises = premises or Premises(policy.rules, clock.monotonic)
        self.fill = fill or Fill(None, clock)
        self.bodies = bodies
        self.turn = turn or Turn()
        self._models: ModelSet | None = None
        self._tries = Tries(clock, captures=policy.tries_count == "captures")

    async def run(self) -> None:
        """Serve one person after another until cancelled."""
        while True:
            shown = await (self.next_code() if self.lane is None else self.next_face(self.lane))
            async with self.turn:
                refused = await self.serve(shown) if await self.still_there(shown) else isinstance(shown, Code)
            if refused:
                await asyncio.sleep(self.result_s)
                if self.lane is not None:
                    await self.lane.gone(self.faces, self.wanted())
            await self.passage_clear()

    async def serve(self, shown: Code | Probe | Refusal) -> bool:
        """Decide about who came, and what follows from it; whether they were refused."""
        self.show(Indication.READING if isinstance(shown, Code) else Indication.LOOK)
        decision = await (self.consider(shown) if isinstance(shown, Code) else self.recognise(shown))
        receipt = await self.record(decision)
        if receipt is None:
            return True
        if decision.granted:
            await self.let_through(shown, receipt, decision)
            return False
        return decision.reason is not Reason.ASSISTING or not await self.assist(receipt, decision)

    async def still_there(self, shown: Code | Probe | Refusal) -> bool:
        """Wait for the end of an alarm; whether who came meanwhile is served after it."""
        if not self.doorway.alarmed:
            return True
        await self.forget()  # a face that was seen before is not who stands there after it
        await self.passage_clear()
        fresh = isinstance(shown, Code) and self.clock.monotonic() - shown.seen_at < _STILL_THERE_S
        if isinstance(shown, Code) and not fresh:
            self.show(Indication.REFUSED)  # no visit and no entry; but who holds it up still has to show it again
        return fresh

    async def passage_clear(self) -> None:
        """Let the person before get out of the way; a forced or blocked passage keeps its alarm until it is mended."""
        if self.doorway.alarmed:
            self.panel.show(Indication.ALARM)
        await self.doorway.clear()

    def show(self, indication: Indication) -> None:
        """Show this, if nobody has to come and mend something; rule 6."""
        self.panel.show(Indication.ALARM if self.doorway.alarmed else indication)

    async def next_code(self) -> Code:
        """Wait for somebody who shows a code, in or out of service."""
        return await self._next(self.reader.code)

    async def next_face(self, lane: Lane) -> Probe | Refusal:
        """Wait for somebody who stands in a lane without cards."""
        while True:
            found = await self._next(partial(lane.face, self.faces, self.wanted, self.policy.capture_s))
            if not self.turn.taken:
                return found
            await self.forget()  # seen while an operator lets somebody in, and perhaps that person
            await self.turn.free()

    async def _next(self, shown: Callable[[], Awaitable[T]]) -> T:
        """What comes next, with the panel at rest meanwhile. Lights that fail then end this as at any other moment."""
        async with asyncio.TaskGroup() as both:
            resting = both.create_task(self._rest())
            try:
                return await self._coming(shown)
            finally:
                resting.cancel()

    async def _coming(self, shown: Callable[[], Awaitable[T]]) -> T:
        """What comes next, with the models known."""
        wait_s = 0.25
        while True:
            try:
                await self.meet_models()
                found = await shown()
            except DeviceError as error:
                self.watch.lost(error.device, error.message)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 2.0)
            else:
                self.watch.back("camera")
                return found

    async def meet_models(self) -> None:
        """Write down which models look, and whether they detect attacks, whenever they are others than before."""
        models = await self.faces.models()
        if models == self._models:
            return
        fields: dict[str, Value] = {
            "set": models.name,
            "models": {role: f"{name}:{digest.hex()}" for role, (name, digest) in models.models.items()},
            "attacks_detected": models.detects_attacks,
            "profile": self.policy.name,
        }
        try:
            await self.journal.append(Event(Kind.CONFIGURATION, fields))
        except DeviceError as error:
            self.watch.lost("journal", error.message)
        else:
            self._models = models
            self.watch.back("models")

    async def _rest(self) -> None:
        """Show whether the next person may come, for as long as nobody is there."""
        while True:
            self.at_rest()
            await asyncio.sleep(_LOOK_S)

    def at_rest(self) -> None:
        """Show whether the next person may come."""
        if self.doorway.open:
            self.show(Indication.WELCOME)  # by an operator; who shows a card is waited for elsewhere
        elif self.doorway.turned_away:
            self.show(Indication.STEP_BACK)
        else:
            self.show(Indication.OUT_OF_SERVICE if self.watch.out_of_service() else Indication.READY)

    async def consider(self, code: Code) -> AccessDecision:
        """Decide about the person who shows this code."""
        visit = Visit(self.clock, self.policy, self.standing, locked_down=self.locked_down())
        visit.stages["read"] = code.took_us
        try:
            with visit.stage("verify"):
                credential = self.verified(code.text, visit.trust, visit.now, timedelta(seconds=self.policy.skew_s))
            found = self.withdrawn(credential, visit.now)
            names = self.premises.names(partial(self.pseudonym, credential), visit.now)
            site = await self.premises.facts(credential, names, visit.now)
            known = (self.premises.refused, names, site.groups, self.clock.monotonic())
            visit.known(replace(site, assists=offered(self.policy, *known)))
            personal = self.bodies.told(credential) if self.bodies is not None else NOTHING
            visit.verified(credential, names[0], self._tries.of, found, personal)
            reference = visit.reference(credential)
            if isinstance(reference, Enrolled):
                await self.faces.enrolled(reference)
                visit.enrolled()
            self.show(Indication.LOOK)
            visit.models(await self.faces.models())
            async with self.fill.shining() as light:
                wanted = replace(self.wanted(), light=light)
                probe = await self.faces.probe(wanted, code.frame - 1, self.policy.capture_s, reference)
            self.watch.back("light")
            visit.probed(probe)
            comparison = await self.faces.compare(reference, probe)
            visit.compared(comparison, self.threshold(comparison))
        except Refusal as refusal:
            visit.refused(refusal.reason, refusal.detail)
        except DeviceError as error:
            self.watch.lost(error.device, error.message)
            visit.refused(_FAULT.get(error.device, Reason.CAMERA_FAULT), error.message)
        finally:
            await self.forget()
        decision = visit.decision(locked_down=self.locked_down())
        self._tries.count(decision)
        return decision

    async def recognise(self, found: Probe | Refusal) -> AccessDecision:
        """Decide about the person who stands in a lane without cards."""
        lane = self.lane
        assert lane is not None
        visit = Visit(self.clock, self.policy, self.standing, locked_down=self.locked_down())
        try:
            visit.may_search()
            visit.models(await self.faces.models())
            if isinstance(found, Refusal):
                raise found
            visit.probed(found)
            match = await self.faces.search(self.policy.gallery, found)
            visit.searched(match, lane.threshold(match.model, match.among), lane.pseudonym(match.candidate, visit.now))
            if visit.recognised:
                names = self.premises.names(partial(lane.pseudonym, match.candidate), visit.now)
                visit.known(await self.premises.facts(None, names, visit.now))
        except Refusal as refusal:
            visit.refused(refusal.reason, refusal.detail)
        except DeviceError as error:
            self.watch.lost(error.device, error.message)
            visit.refused(_FAULT.get(error.device, Reason.CAMERA_FAULT), error.message)
        finally:
            await self.forget()
        return visit.decision(locked_down=self.locked_down())

    async def record(self, decision: AccessDecision) -> Receipt | None:
        """Write the decision down and show it; None when it is not on disk, and then nothing opens."""
        try:
            body = await self._kept(decision)
            receipt = await self.journal.append(entry(decision, self.policy, token_bytes(16), body))
        except DeviceError as error:
            self.watch.lost("journal", error.message)
            if decision.granted:  # a disk that hangs may still write it: then the log says that nobody went
                self.watch.later(Event(Kind.NOT_TAKEN, {"why": _UNWRITTEN}, subject=decision.subject))
            self.premises.refused = None  # whoever was refused before is not who stands here
            self.show(Indication.OUT_OF_SERVICE)
            _log.error("visit not written, refused: %s", error)
            return None
        self.watch.back("journal")
        self.show(self._welcome() if decision.granted else Indication.REFUSED)
        for silent in self.premises.decided(decision, receipt.index):
            self.watch.later(silent)
        _log.info("visit %s", told(decision, receipt))
        return receipt

    def _welcome(self) -> Indication:
        """What a grant shows: nobody is sent against a lock that opens only when somebody else has left."""
        return Indication.WELCOME if self.doorway.is_clear() else Indication.STEP_BACK

    async def _kept(self, decision: AccessDecision) -> bytes | None:
        """The commitment to what the site keeps beside the log; nobody is kept out because that cannot be kept."""
        if self.bodies is None or not decision.personal:
            return None
        try:
            commitment = await self.bodies.keep(decision.personal, granted=decision.granted)
        except DeviceError as error:
            self.watch.lost("bodies", error.message)
            return None
        self.watch.back("bodies")
        return commitment

    async def let_through(self, shown: Code | Probe | Refusal, receipt: Receipt, decision: AccessDecision) -> None:
        """Open for the person whose grant is on disk, and write down whether they went."""
        asked_at = self.clock.monotonic()
        known = (decision.subject, decision.facts, decision.at)
        outcome = await self.premises.open(self.doorway, receipt, *known, lost=self.watch.lost)
        if outcome is Kind.TAKEN and self.policy.rules.programme:
            self.watch.back("dispenser")
        opened_at = self.doorway.unlocked_at
        fields: dict[str, Value] = {"visit": receipt.index, "commit_us": receipt.commit_us}
        if opened_at >= asked_at:
            fields["relay_us"] = round((opened_at - asked_at) * 1e6)
            if not isinstance(shown, Refusal):
                fields["whole_us"] = round((opened_at - shown.seen_at) * 1e6)
        try:
            await self.journal.append(Event(outcome, fields))
        except DeviceError as error:
            self.watch.lost("journal", error.message)
            self.watch.later(Event(outcome, fields))  # who went through is asked for after a restart
        _log.info("passage visit=%d outcome=%s", receipt.index, outcome.name.lower().replace("_", "-"))

    async def assist(self, badge: Receipt, shown: AccessDecision) -> bool:
        """Let in whom the gate refused just before, by the badge of somebody who assists; whether anybody was."""
        refused, self.premises.refused = self.premises.refused, None  # before it is written: nobody lets in twice
        event = overriding(self.policy, refused, shown, badge.index, self.clock.monotonic())
        receipt = None if event is None else await self._overridden(event)
        if refused is None or receipt is None:  # it is too late by now
            return False
        self.show(self._welcome())
        await self.let_through(Refusal(Reason.ASSISTING), receipt, refused.decision)
        return True

    async def _overridden(self, event: Event) -> Receipt | None:
        try:
            return await self.journal.append(event)
        except DeviceError as error:
            self.watch.lost("journal", error.message)
            self.watch.later(Event(Kind.NOT_TAKEN, {"why": _UNWRITTEN}, subject=event.subject))
            self.show(Indication.OUT_OF_SERVICE)
            return None

    async def forget(self) -> None:
        """Drop the pictures of this visit; a dead edge-vision has dropped them already."""
        with contextlib.suppress(DeviceError):
            await self.faces.forget()

    def wanted(self) -> ProbeQuality:
        """What a probe must satisfy here."""
        policy = self.policy
        return ProbeQuality(
            policy.eyes_px,
            policy.sharpness,
            policy.brightness,
            frames=1,
            attack_frames=policy.attack_frames,
            tasks=drawn(policy.tasks, SystemRandom().sample),
        )

    def threshold(self, comparison: Comparison) -> float:
        """The score to reach.

        Raises:
            DeviceError: nobody measured this model at the policy's false match rate.
        """
        try:
            return self.thresholds(comparison.model, comparison.kind)
        except (KeyError, ValueError) as error:
            raise DeviceError("models", f"no threshold for {comparison.model} at FMR {self.policy.fmr}") from error
