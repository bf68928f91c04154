"""What is found out about one person, in the order in which it is found out, and the line that is said about it.

A visit collects facts as whole numbers; the decision on them is ``decision.admit`` and nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import replace
from typing import Protocol

from edge.audit.entry import Value
from edge.biometric.values import Comparison, Enrolled, Identification, ModelSet, Probe, Reference, ReferenceKind
from edge.credential import Credential
from edge.decision import (
    BEFORE_REFERENCE,
    BEFORE_SEARCH,
    AccessDecision,
    Check,
    Facts,
    Policy,
    admit,
    before_face,
    enrolled_as,
    first_against,
    scaled,
)
from edge.errors import Reason, Refusal
from edge.policy.checks import flags
from edge.policy.facts import SiteFacts
from edge.ports import Clock, Receipt
from edge.trust.list import TrustList
from edge.trust.withdrawn import UNLISTED, Found

NOTHING: Mapping[str, Value] = {}


class Standing(Protocol):
    """What the gate knows before anybody comes."""

    def trust(self) -> TrustList | None:
        """The trust list in force."""
        ...

    def unsealed(self) -> tuple[int, float] | None:
        """Entries that wait for the token, and the age of the oldest in seconds; None when that cannot be told."""
        ...


class Visit:
    """What is found out about one person, in the order in which it is found out."""

    def __init__(self, clock: Clock, policy: Policy, standing: Standing, *, locked_down: bool = False) -> None:
        self._clock = clock
        self._policy = policy
        self.now = clock.now()
        self._trust = standing.trust()
        self.facts = Facts(locked_down=locked_down)
        if (waiting := standing.unsealed()) is not None:
            self.facts = replace(self.facts, unsealed=waiting[0], unsealed_s=int(waiting[1]))
        if self._trust is not None:
            self.facts = replace(self.facts, trust_age_s=self._trust.age_s(self.now))
        self.stages: dict[str, int] = {}
        self._told: dict[str, Value] = {}
        self._flags: set[str] = set()
        self._subject: bytes | None = None
        self._personal: Mapping[str, Value] = NOTHING
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

    def verified(
        self,
        credential: Credential,
        subject: bytes,
        tries_of: Callable[[bytes], int],
        found: Found = UNLISTED,
        personal: Mapping[str, Value] = NOTHING,
    ) -> None:
        """The credential is genuine; hold everything against the policy that needs no face.

        Raises:
            Refusal: the first reason against.
        """
        self._subject, self._personal = subject, personal
        self._kid = credential.key  # of the key that verified; what the card calls it is the bearer's to choose
        self._told |= {"issuer": credential.issuer, "alg": credential.alg, "dialect": credential.dialect}
        self.facts = replace(
            self.facts,
            trust_age_s=self.trust.age_s(self.now, credential.issuer),
            validity=credential.validity.value,
            reference=credential.reference is not None,
            tries=tries_of(subject),
            card_status=found.status.value,
            status_age_s=found.age_s,
        )
        self._flag(credential.flags | self._old_trust(credential.issuer))
        self._against(BEFORE_REFERENCE)

    def known(self, site: SiteFacts) -> None:
        """What the site's rules ask for about this person."""
        self.facts = replace(self.facts, **vars(site))
        self._flag(flags(self._policy.rules, self.facts))

    def _flag(self, more: Set[str]) -> None:
        self._flags |= more
        if self._flags:
            self._told["flags"] = [*sorted(self._flags)]

    def may_search(self) -> None:
        """Somebody came who shows nothing: hold what is known against the policy.

        Raises:
            Refusal: the first reason against.
        """
        self._against(BEFORE_SEARCH)

    def _against(self, checks: tuple[Check, ...]) -> None:
        if (against := first_against(checks, self._policy, self.facts)) is not None:
            raise Refusal(against)

    def _old_trust(self, issuer: str) -> set[str]:
        age_s = self.facts.trust_age_s
        old = age_s is not None and age_s > self._policy.trust_warn_h * 3600
        return {"trust-old"} if old or self.trust.ended(self.now, issuer) else set()

    def models(self, models: ModelSet) -> None:
        """These models are going to look.

        Raises:
            Refusal: the profile asks for presentation attack detection and the set has no detector.
        """
        self._models = tuple(digest for _, (_, digest) in sorted(models.models.items()))
        self._told["attacks_detected"] = models.detects_attacks
        if self._policy.attack_detection == "required" and not models.detects_attacks:
            raise Refusal(Reason.NO_ATTACK_DETECTION, f"model set {models.name} has no detector")
        if self._policy.tasks and not models.sees_tasks:
            raise Refusal(Reason.NO_ATTACK_DETECTION, f"model set {models.name} cannot see whether tasks are done")

    def reference(self, credential: Credential) -> Reference:
        """The face to compare with: the card's own, else what the policy's gallery may know of its holder.

        Raises:
            Refusal: there is neither.
        """
        if credential.reference is not None:
            return credential.reference
        claim = enrolled_as(credential) if self._policy.gallery else None
        if claim is None:
            raise Refusal(Reason.NO_REFERENCE)
        return Enrolled(self._policy.gallery, claim)

    def enrolled(self) -> None:
        """The gallery knows the holder's face."""
        self.facts = replace(self.facts, enrolled=True)

    def probed(self, probe: Probe) -> None:
        """A face was found good enough."""
        self.stages |= probe.took_us
        bona_fide = None if probe.bona_fide is None else scaled(probe.bona_fide)
        self.facts = replace(self.facts, bona_fide=bona_fide, tasks=probe.tasks if self._policy.tasks else None)

    def compared(self, comparison: Comparison, threshold: float) -> None:
        """Reference and probe were held against each other."""
        self.stages |= comparison.took_us
        self._told |= {"model": comparison.model, "kind": comparison.kind.value}
        self.facts = replace(self.facts, score=scaled(comparison.score), threshold=scaled(threshold))

    def searched(self, found: Identification, threshold: float, subject: bytes) -> None:
        """The face was held against everybody in the gallery; nobody is named whom the threshold does not name."""
        self.stages |= found.took_us
        self._told |= {"model": found.model, "kind": ReferenceKind.GALLERY.value, "gallery": self._policy.gallery}
        score, least = scaled(found.score), scaled(threshold)
        self.facts = replace(self.facts, score=score, threshold=least, among=found.among)
        if score >= least:
            self._subject = subject

    @property
    def recognised(self) -> bool:
        """Whether the gallery named somebody."""
        return self._subject is not None

    def refused(self, reason: Reason, detail: str) -> None:
        """A step ended the visit; what the policy would have said itself is left to the policy."""
        if first_against(before_face(self._policy), self._policy, self.facts) is not reason:
            self.facts = replace(self.facts, refusal=reason.code)
        self._detail = detail[:120]

    def decision(self, *, locked_down: bool = False) -> AccessDecision:
        """The decision on all that was found out; ``locked_down``: whether the gate is by now."""
        self.facts = replace(self.facts, locked_down=self.facts.locked_down or locked_down)
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
            personal=self._personal,
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
