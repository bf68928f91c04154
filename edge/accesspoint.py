"""The main loop: one entrance, one person at a time. Read this first.

Rules:

1. Nothing opens before the grant is on disk: unlocking takes the journal's receipt.
2. Checks go from the cheapest and most certain to the camera; the face is asked for only when nothing stands against.
3. A device that fails under a visit denies that visit, says which device it was, and the next person may try.
4. Every visit ends in a decision entry, on the panel and in one log line, and its pictures are forgotten on every path.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from edge.audit.entry import Event, Kind, Value
from edge.biometric.values import Comparison, ModelSet, Probe, ProbeQuality, Reference, ReferenceKind
from edge.credential import Credential, verify
from edge.decision import BEFORE_FACE, AccessDecision, Facts, Policy, admit, entry, first_against, scaled
from edge.doorway import Doorway
from edge.errors import DeviceError, Reason, Refusal
from edge.passage import Indication, State
from edge.ports import Clock, Code, Faces, Journal, Panel, Reader, Receipt
from edge.trust.interval import Interval
from edge.trust.list import TrustList
from edge.watch import Watch

_log = logging.getLogger("edge.visit")
_FORGET_TRIES_S = 600.0
_LOOK_S = 0.2
_FAULT = {"camera": Reason.CAMERA_FAULT, "models": Reason.MODEL_FAULT, "journal": Reason.JOURNAL_FAULT}


class Standing(Protocol):
    """What the gate knows before anybody comes."""

    def trust(self) -> TrustList | None:
        """The trust list in force."""
        ...

    def unsealed(self) -> tuple[int, float]:
        """Entries that wait for the token, and the age of the oldest in seconds."""
        ...


Thresholds = Callable[[str, ReferenceKind], float]
"""Score to reach for a model and a kind of reference, at the policy's false match rate."""


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
        self._models: ModelSet | None = None
        self._tries: dict[bytes, tuple[int, float]] = {}

    async def run(self) -> None:
        """Serve one person after another until cancelled."""
        while True:
            code = await self.next_code()
            self.panel.show(Indication.READING)
            decision = await self.consider(code)
            receipt = await self.record(decision)
            if receipt is not None and decision.granted:
                await self.let_through(code, receipt)
            else:
                await asyncio.sleep(self.result_s)
            await self.passage_clear()

    async def passage_clear(self) -> None:
        """Let the person before get out of the way; a forced or blocked passage keeps its alarm until it is mended."""
        if self.doorway.state is State.FORCED:
            self.panel.show(Indication.ALARM)
        await self.doorway.clear()

    async def next_code(self) -> Code:
        """Wait for somebody who shows a code, in or out of service."""
        resting = asyncio.ensure_future(self._rest())
        wait_s = 0.25
        try:
            while True:
                try:
                    await self.meet_models()
                    code = await self.reader.code()
                except DeviceError as error:
                    self.watch.lost(error.device, error.message)
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, 2.0)
                else:
                    self.watch.back("camera")
                    return code
        finally:
            resting.cancel()

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
        if self.doorway.state is State.FORCED:
            self.panel.show(Indication.ALARM)
        else:
            self.panel.show(Indication.OUT_OF_SERVICE if self.watch.out_of_service() else Indication.READY)

    async def consider(self, code: Code) -> AccessDecision:
        """Decide about the person who shows this code."""
        visit = Visit(self.clock, self.policy, self.standing)
        visit.stages["read"] = code.took_us
        try:
            with visit.stage("verify"):
                credential = verify(code.text, visit.trust, visit.now, timedelta(seconds=self.policy.skew_s))
            visit.verified(credential, self.pseudonym(credential, visit.now), self._tries_of)
            self.panel.show(Indication.LOOK)
            visit.models(await self.faces.models())
            probe = await self.faces.probe(self.wanted(), code.frame - 1, self.policy.capture_s)
            visit.probed(probe)
            reference = visit.reference(credential)
            comparison = await self.faces.compare(reference, probe)
            visit.compared(comparison, self.threshold(comparison))
        except Refusal as refusal:
            visit.refused(refusal.reason, refusal.detail)
        except DeviceError as error:
            self.watch.lost(error.device, error.message)
            visit.refused(_FAULT.get(error.device, Reason.CAMERA_FAULT), error.message)
        finally:
            await self.forget()
        decision = visit.decision()
        self._count(decision)
        return decision

    async def record(self, decision: AccessDecision) -> Receipt | None:
        """Write the decision down and show it; None when it is not on disk, and then nothing opens."""
        try:
            receipt = await self.journal.append(entry(decision, self.policy))
        except DeviceError as error:
            self.watch.lost("journal", error.message)
            self.panel.show(Indication.OUT_OF_SERVICE)
            _log.error("visit not written, refused: %s", error)
            return None
        self.watch.back("journal")
        self.panel.show(Indication.WELCOME if decision.granted else Indication.REFUSED)
        _log.info("visit %s", told(decision, receipt))
        return receipt

    async def let_through(self, code: Code, receipt: Receipt) -> None:
        """Open for the person whose grant is on disk, and write down whether they went."""
        asked_at = self.clock.monotonic()
        outcome = await self.doorway.let_through(receipt)
        opened_at = self.doorway.unlocked_at
        fields: dict[str, Value] = {"visit": receipt.index, "commit_us": receipt.commit_us}
        if opened_at >= asked_at:
            fields["relay_us"] = round((opened_at - asked_at) * 1e6)
            fields["whole_us"] = round((opened_at - code.seen_at) * 1e6)
        try:
            await self.journal.append(Event(outcome, fields))
        except DeviceError as error:
            self.watch.lost("journal", error.message)
        _log.info("passage visit=%d %s", receipt.index, outcome.name.lower().replace("_", "-"))

    async def forget(self) -> None:
        """Drop the pictures of this visit; a dead edge-vision has dropped them already."""
        with contextlib.suppress(DeviceError):
            await self.faces.forget()

    def wanted(self) -> ProbeQuality:
        """What a probe must satisfy here."""
        policy = self.policy
        return ProbeQuality(
            policy.eyes_px, policy.sharpness, policy.brightness, frames=1, attack_frames=policy.attack_frames
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

    def _tries_of(self, subject: bytes) -> int:
        count, since = self._tries.get(subject, (0, 0.0))
        return count if self.clock.monotonic() - since < _FORGET_TRIES_S else 0

    def _count(self, decision: AccessDecision) -> None:
        """Count failed comparisons per holder; a grant or ten minutes forgive them."""
        if decision.subject is None:
            return
        if decision.reason in (Reason.NO_MATCH, Reason.PRESENTATION_ATTACK):
            self._tries[decision.subject] = (self._tries_of(decision.subject) + 1, self.clock.monotonic())
            if len(self._tries) > 1000:
                self._tries.pop(next(iter(self._tries)))
        elif decision.granted:
            self._tries.pop(decision.subject, None)


class Visit:
    """What is found out about one person, in the order in which it is found out."""

    def __init__(self, clock: Clock, policy: Policy, standing: Standing) -> None:
        self._clock = clock
        self._policy = policy
        self.now = clock.now()
        self._trust = standing.trust()
        unsealed, unsealed_s = standing.unsealed()
        self.facts = Facts(unsealed=unsealed, unsealed_s=int(unsealed_s))
        if self._trust is not None and self._trust.issued_at is not None:
            age = self.now.lower - self._trust.issued_at
            self.facts = replace(self.facts, trust_age_s=max(0, int(age.total_seconds())))
        self.stages: dict[str, int] = {}
        self._told: dict[str, Value] = {}
        self._subject: bytes | None = None
        self._kid: bytes | None = None
        self._models: tuple[bytes, ...] = ()
        self._detail = ""

    @property
    def trust(self) -> TrustList:
        """The trust list in force.

        Raises:
            Refusal: there is none.
        """
        if self._trust is None:
            raise Refusal(Reason.NO_TRUST, "no verified trust list")
        return self._trust

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self.stages[name] = round((self._clock.monotonic() - began) * 1e6)

    def verified(self, credential: Credential, subject: bytes, tries_of: Callable[[bytes], int]) -> None:
        """The credential is genuine; hold everything against the policy that needs no face.

        Raises:
            Refusal: the first reason against.
        """
        self._subject = subject
        self._kid = bytes.fromhex(credential.kid) or None
        self._told |= {"issuer": credential.issuer, "alg": credential.alg, "dialect": credential.dialect}
        if credential.flags:
            flags: list[Value] = [*sorted(credential.flags)]
            self._told["flags"] = flags
        self.facts = replace(
            self.facts,
            validity=credential.validity.value,
            reference=credential.reference is not None,
            tries=tries_of(subject),
        )
        if (against := first_against(BEFORE_FACE, self._policy, self.facts)) is not None:
            raise Refusal(against)

    def models(self, models: ModelSet) -> None:
        """These models are going to look.

        Raises:
            Refusal: the profile asks for presentation attack detection and the set has no detector.
        """
        self._models = tuple(digest for _, (_, digest) in sorted(models.models.items()))
        self._told["attacks_detected"] = models.detects_attacks
        if self._policy.attack_detection == "required" and not models.detects_attacks:
            raise Refusal(Reason.NO_ATTACK_DETECTION, f"model set {models.name} has no detector")

    def reference(self, credential: Credential) -> Reference:
        """The face to compare with.

        Raises:
            Refusal: the credential has none.
        """
        if credential.reference is None:
            raise Refusal(Reason.NO_REFERENCE)
        return credential.reference

    def probed(self, probe: Probe) -> None:
        """A face was found good enough."""
        self.stages |= probe.took_us
        bona_fide = None if probe.bona_fide is None else scaled(probe.bona_fide)
        self.facts = replace(self.facts, bona_fide=bona_fide)

    def compared(self, comparison: Comparison, threshold: float) -> None:
        """Reference and probe were held against each other."""
        self.stages |= comparison.took_us
        self._told |= {"model": comparison.model, "kind": comparison.kind.value}
        self.facts = replace(self.facts, score=scaled(comparison.score), threshold=scaled(threshold))

    def refused(self, reason: Reason, detail: str) -> None:
        """A step ended the visit; what the policy would have said itself is left to the policy."""
        if first_against(BEFORE_FACE, self._policy, self.facts) is not reason:
            self.facts = replace(self.facts, refusal=reason.code)
        self._detail = detail[:120]

    def decision(self) -> AccessDecision:
        """The decision on all that was found out."""
        with self.stage("decide"):
            reason = admit(self._policy, self.facts)
        told: dict[str, Value] = {**self._told, "stages": dict(self.stages)}
        return AccessDecision(
            at=self.now,
            reason=reason,
            facts=self.facts,
            detail=self._detail,
            told=told,
            subject=self._subject,
            kid=self._kid,
            trust=() if self._trust is None else (self._trust.version,),
            models=self._models,
        )


def told(decision: AccessDecision, receipt: Receipt) -> str:
    """The visit in one line: all that was found, nobody's name."""
    reason = "granted" if decision.reason is None else decision.reason.code
    stages = " ".join(f"{name}={us / 1000:.1f}ms" for name, us in dict(_stages(decision)).items())
    facts = " ".join(
        f"{name}={value}" for name, value in vars(decision.facts).items() if value is not None and name != "refusal"
    )
    return f"entry={receipt.index} outcome={reason} {facts} {stages} commit={receipt.commit_us / 1000:.1f}ms".strip()


def _stages(decision: AccessDecision) -> dict[str, int]:
    stages = decision.told.get("stages")
    return {name: us for name, us in stages.items() if isinstance(us, int)} if isinstance(stages, dict) else {}
