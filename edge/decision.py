"""Policy and facts → access decision. One pure function; the log can recompute every decision from its entry.

Rules:

1. A grant is an AND over every required fact. A missing fact is a reason against, never a pass.
2. Facts are whole numbers, as they stand in the entry; so a replay sees exactly what was decided on.
3. Checks run in the order of the gate: what needs no face comes first. The first reason against is the decision.
4. Thresholds come as scores of one model at the policy's false match rate; the policy itself holds no score.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from edge.audit.entry import Event, Kind, Value
from edge.credential import Credential
from edge.errors import Reason
from edge.policy.checks import BEFORE_FACE as BEFORE_FACE_HERE
from edge.policy.checks import LAST, overrules
from edge.policy.checks import Check as SiteCheck
from edge.policy.differences import asked
from edge.policy.facts import SiteFacts
from edge.policy.rules import Rules
from edge.trust.interval import Interval, Validity
from edge.trust.withdrawn import Card, CardStatus

SCALE = 10_000


def scaled(number: float) -> int:
    """A score as it is written down: ten-thousandths."""
    return round(number * SCALE)


@dataclass(frozen=True)
class Policy:
    """One profile of a site (config/profiles/*.toml).

    Attributes:
        name: of the profile.
        fmr: false match rate at which the comparison threshold is taken.
        attack_detection: ``required``, or ``optional`` where a pilot runs without a detector.
        attack_threshold: probability of a real person from which a face counts as one.
        attack_frames: frames of one probe that the detector judges; their median decides.
        capture_s: seconds a person has to bring the face into position.
        tries: failed comparisons of one credential before a person has to decide.
        tries_count: what counts as one: failed ``comparisons``, or all ``captures`` that ended without a grant.
        eyes_px: least distance between the eyes, pixels.
        sharpness: least variance of the Laplacian.
        brightness: least and greatest mean luma of the face.
        clock_floor: what to do when the clock cannot tell whether a credential is still valid.
        skew_s: tolerance on both edges of a validity, seconds.
        trust_warn_h: age of the trust list from which it is called old, hours.
        trust_refer_h: age of the trust list from which a person decides, hours; 0 for none.
        trust_refuse_h: age of the trust list from which nobody is admitted, hours.
        unsealed_h: how long entries may wait for the token, hours.
        unsealed_entries: how many entries may wait for the token.
        tasks: how many things a person is asked to do, drawn at random (turn, nod, blink, come closer); 0 for none.
        gallery: which gallery knows the faces that cards do not carry, and whom the lane lets in; empty for none.
        lane: who comes: people with a ``card``, or people of the ``gallery``, who show nothing but the face.
        fpir: how often a stranger may be taken for anybody in the gallery, in a lane without cards.
        version: of this document; whoever changes it counts up.
        rules: what the site asks beyond a genuine card and the right face.
    """

    name: str
    fmr: float
    attack_detection: Literal["required", "optional"]
    attack_threshold: float
    attack_frames: int
    capture_s: float
    tries: int
    eyes_px: float
    sharpness: float
    brightness: tuple[float, float]
    clock_floor: Literal["accept", "refer"]
    skew_s: int
    trust_warn_h: float
    trust_refuse_h: float
    unsealed_h: float
    unsealed_entries: int
    tries_count: Literal["comparisons", "captures"] = "comparisons"
    trust_refer_h: float = 0.0
    status_refuse_h: float = 168.0
    status_unknown: Literal["accept", "refer", "refuse"] = "refer"
    tasks: int = 0
    gallery: str = ""
    lane: Literal["card", "gallery"] = "card"
    fpir: float = 0.01
    version: int = 1
    rules: Rules = field(default_factory=Rules)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the policy, the same for the same rules wherever they were read."""
        return hashlib.sha256(repr(asked(self)).encode()).digest()


@dataclass(frozen=True)
class Facts(SiteFacts):
    """All that a decision rests on, as whole numbers and short words.

    Attributes:
        refusal: code of the reason with which a step before ended, or None.
        trust_age_s: least age of the trust list.
        unsealed: entries that the token has not sealed yet; None when that cannot be told.
        unsealed_s: age of the oldest of them.
        validity: of the credential, or None before it was verified.
        tries: failed comparisons, or captures, of this credential shortly before.
        reference: whether the credential carries a face, or None before it was verified.
        bona_fide: probability of a real person, ten-thousandths; None when no detector answered.
        score: comparison score, ten-thousandths; None when nothing was compared.
        threshold: score to reach at the policy's false match rate, ten-thousandths.
        tasks: how many of the things that were asked for the person did; None when nothing was asked.
        enrolled: whether the gallery knows the face of a card without one; None when it was not asked.
        among: how many people of the gallery the face was compared with, in a lane without cards.
    """

    refusal: str | None = None
    trust_age_s: int | None = None
    unsealed: int | None = None
    unsealed_s: int | None = None
    validity: str | None = None
    tries: int = 0
    reference: bool | None = None
    bona_fide: int | None = None
    score: int | None = None
    threshold: int | None = None
    tasks: int | None = None
    card_status: str = CardStatus.UNLISTED.value
    status_age_s: int | None = None
    locked_down: bool = False
    enrolled: bool | None = None
    among: int | None = None


Check = Callable[[Policy, Facts], Reason | None]


def _refused_before(_: Policy, facts: Facts) -> Reason | None:
    return None if facts.refusal is None else Reason.of(facts.refusal)


def _trust_fresh(policy: Policy, facts: Facts) -> Reason | None:
    age_s = facts.trust_age_s
    if age_s is None or age_s > policy.trust_refuse_h * 3600:
        return Reason.NO_TRUST
    return Reason.REFERRED if policy.trust_refer_h and age_s > policy.trust_refer_h * 3600 else None


def _log_sealed(policy: Policy, facts: Facts) -> Reason | None:
    if facts.unsealed is None or facts.unsealed_s is None:
        return Reason.UNSEALED_TOO_LONG
    waiting = facts.unsealed > policy.unsealed_entries or facts.unsealed_s > policy.unsealed_h * 3600
    return Reason.UNSEALED_TOO_LONG if waiting else None


def _still_valid(policy: Policy, facts: Facts) -> Reason | None:
    match facts.validity:
        case Validity.VALID.value:
            return None
        case Validity.UNSURE.value:
            return None if policy.clock_floor == "accept" else Reason.TIME_UNSURE
        case Validity.NOT_YET.value:
            return Reason.NOT_YET_VALID
        case _:
            return Reason.EXPIRED


def _open_to_anybody(_: Policy, facts: Facts) -> Reason | None:
    return Reason.LOCKED_DOWN if facts.locked_down else None


_AGAINST = {
    CardStatus.REVOKED: Reason.REVOKED,
    CardStatus.SUSPENDED: Reason.SUSPENDED,
    CardStatus.DENIED: Reason.DENIED_HERE,
}


def _not_withdrawn(policy: Policy, facts: Facts) -> Reason | None:
    status = CardStatus(facts.card_status)
    if status in _AGAINST:
        return _AGAINST[status]
    if status is CardStatus.UNLISTED:
        return None
    age_s = facts.status_age_s
    if status is CardStatus.VALID and age_s is not None and age_s <= policy.status_refuse_h * 3600:
        return None
    match policy.status_unknown:
        case "accept":
            return None
        case "refer":
            return Reason.REFERRED
        case "refuse":
            return Reason.STATUS_UNKNOWN


def _has_reference(_: Policy, facts: Facts) -> Reason | None:
    return None if facts.reference or facts.enrolled else Reason.NO_REFERENCE


def _may_try_again(policy: Policy, facts: Facts) -> Reason | None:
    return None if facts.tries < policy.tries else Reason.REFERRED


def _bona_fide(policy: Policy, facts: Facts) -> Reason | None:
    if facts.bona_fide is None:
        return None if policy.attack_detection == "optional" else Reason.NO_ATTACK_DETECTION
    return None if facts.bona_fide >= scaled(policy.attack_threshold) else Reason.PRESENTATION_ATTACK


def _did_as_asked(policy: Policy, facts: Facts) -> Reason | None:
    return None if (facts.tasks or 0) >= policy.tasks else Reason.TASK_NOT_DONE


def _matches(_: Policy, facts: Facts) -> Reason | None:
    if facts.score is None or facts.threshold is None:
        return Reason.MODEL_FAULT
    return None if facts.score >= facts.threshold else Reason.NO_MATCH


def _recognised(_: Policy, facts: Facts) -> Reason | None:
    if facts.score is None or facts.threshold is None or not facts.among:
        return Reason.MODEL_FAULT
    return None if facts.score >= facts.threshold else Reason.NOT_RECOGNISED


def _of_the_site(check: SiteCheck) -> Check:
    return lambda policy, facts: check(policy.rules, facts)


_SITE = tuple(_of_the_site(check) for check in BEFORE_FACE_HERE)
_SITE_LAST = tuple(_of_the_site(check) for check in LAST)
BEFORE_SITE = (_refused_before, _open_to_anybody, _trust_fresh, _log_sealed, _still_valid, _not_withdrawn)
BEFORE_REFERENCE: tuple[Check, ...] = (*BEFORE_SITE, *_SITE, _may_try_again)
BEFORE_FACE: tuple[Check, ...] = (*BEFORE_REFERENCE, _has_reference)
WITH_FACE: tuple[Check, ...] = (*BEFORE_FACE, _bona_fide, _did_as_asked, _matches, *_SITE_LAST)
BEFORE_SEARCH: tuple[Check, ...] = (_refused_before, _open_to_anybody, _log_sealed)
SEARCHED: tuple[Check, ...] = (*BEFORE_SEARCH, _bona_fide, _did_as_asked, _recognised, *_SITE, *_SITE_LAST)


def first_against(checks: tuple[Check, ...], policy: Policy, facts: Facts) -> Reason | None:
    """The first reason against, or None when all checks are content."""
    return next((reason for check in checks if (reason := check(policy, facts)) is not None), None)


def admit(policy: Policy, facts: Facts) -> Reason | None:
    """None to admit, or the first reason against. This is the decision; a replay calls the same function."""
    return first_against(WITH_FACE if policy.lane == "card" else SEARCHED, policy, facts)


def overruled(policy: Policy, fields: Mapping[str, Value], age_s: int) -> Reason | None:
    """Whether an operator may let in whom this entry refused so many seconds ago: None, or what stands.

    The reason is decided again from the facts. It is the first one against; an operator has to be allowed every one.
    """
    told = fields.get("facts")
    facts = facts_of(told) if isinstance(told, Mapping) else Facts()
    reason = admit(policy, facts)
    if reason is None or reason.code != fields.get("reason"):
        return Reason.REFERRED
    if policy.lane == "card" and facts.validity is None:
        return reason  # the card was never verified: nobody asked the lists, nobody knows whose it is
    standing = (overrules(policy.rules, each, age_s) for each in _all_against(policy, facts))
    return next((each for each in standing if each is not None), None)


def _all_against(policy: Policy, facts: Facts) -> tuple[Reason, ...]:
    """Every reason that the facts of a visit give; what only a face could have told is left out where none came."""
    card = policy.lane == "card"
    faced: dict[Check, object] = {_bona_fide: facts.bona_fide, _did_as_asked: facts.tasks}
    faced[_matches if card else _recognised] = facts.score
    before = BEFORE_REFERENCE if card else (*BEFORE_SEARCH, *_SITE)
    checks = (*before, *(check for check, fact in faced.items() if fact is not None), *_SITE_LAST)
    found = (admit(policy, facts), *(check(policy, facts) for check in checks))
    return tuple(reason for reason in found if reason is not None)


def before_face(policy: Policy) -> tuple[Check, ...]:
    """What is held against the policy before anybody's face is."""
    return BEFORE_FACE if policy.lane == "card" else BEFORE_SEARCH


@dataclass(frozen=True)
class AccessDecision:
    """Granted, or the first reason against, with the facts that it rests on.

    Attributes:
        at: when, as far as it was known.
        reason: the first against; None when granted.
        facts: all that was decided on.
        detail: for the operator, never personal data.
        told: what else is worth an entry: dialect, model, stages, ...
        subject: pseudonym of the holder.
        kid: key identifier of the credential.
        trust: version of the trust list.
        models: SHA-256 of each model that looked.
        personal: what the site keeps about the holder beside the log; empty unless it turned that on.
    """

    at: Interval
    reason: Reason | None
    facts: Facts
    detail: str = ""
    told: Mapping[str, Value] = field(default_factory=dict)
    subject: bytes | None = field(default=None, repr=False)
    kid: bytes | None = None
    trust: tuple[int, ...] = ()
    models: tuple[bytes, ...] = ()
    personal: Mapping[str, Value] = field(default_factory=dict, repr=False)

    @property
    def granted(self) -> bool:
        """Whether the person may pass."""
        return self.reason is None


def facts_of(told: Mapping[str, Value]) -> Facts:
    """The facts as they stand in an entry, for a replay.

    Raises:
        TypeError: the entry names a fact that this version does not know.
    """
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    return Facts(**known)


def entry(decision: AccessDecision, policy: Policy, salt: bytes = b"", body: bytes | None = None) -> Event:
    """The decision as it is written down.

    Args:
        decision: on one visit.
        policy: that it was made by.
        salt: 16 random bytes, so that the entry's hash, which a receipt tells, gives away nothing of what it says.
        body: commitment to what is kept about the person beside the log.
    """
    upper = decision.at.upper
    fields: dict[str, Value] = {
        "reason": None if decision.reason is None else decision.reason.code,
        "detail": decision.detail,
        "facts": {name: value for name, value in asdict(decision.facts).items() if value is not None},
        "profile": policy.name,
        "lower": int(decision.at.lower.timestamp()),
        "upper": None if upper is None else int(upper.timestamp()),
        "clock": decision.at.state.value,
        **decision.told,
    }
    if salt:
        fields["salt"] = salt
    return Event(
        Kind.GRANTED if decision.granted else Kind.DENIED,
        fields,
        subject=decision.subject,
        issuer=decision.kid,
        trust=decision.trust,
        digests=(policy.digest, *decision.models),
        body=body,
    )


def personal(kept: tuple[str, ...], credential: Credential) -> Mapping[str, Value]:
    """What a site that turned it on keeps about a holder for a dispute: ``identifier``, ``name``; never in an entry."""
    told = {"identifier": credential.identity.id, "name": credential.identity.full_name}
    found: dict[str, Value] = {name: text for name, text in told.items() if name in kept and text}
    return {"issuer": credential.issuer, **found} if found else {}


def card_of(credential: Credential) -> Card:
    """What the lists of withdrawn cards are asked about: the card by its own identifier, its holder, its bytes."""
    identifier = credential.identity.id
    names = (credential.claims.cti, identifier.encode() if identifier else None, credential.digest)
    return Card(credential.issuer, tuple(name for name in names if name), credential.claims.status)


def pseudonym(site_key: bytes, credential: Credential, at: Interval) -> bytes:
    """A name for this holder that only this site's key can make again, another one every month: 16 bytes."""
    return _named(site_key, credential.subject, at)


def recognised(site_key: bytes, candidate: bytes, at: Interval) -> bytes:
    """The same for somebody whom the gallery calls ``candidate``; nobody can tell whose card that person has."""
    return _named(site_key, b"gallery\0" + candidate, at)


def enrolled_as(credential: Credential) -> str | None:
    """The claim by which a gallery knows the holder: issuer, one space, identifier; None where that is unclear."""
    identifier = credential.identity.id
    if not identifier or any(part.isspace() for part in credential.issuer):
        return None
    return f"{credential.issuer} {identifier}"


def _named(site_key: bytes, subject: bytes, at: Interval) -> bytes:
    month = hmac.digest(site_key, b"period\0" + at.lower.strftime("%Y-%m").encode(), "sha256")
    return hmac.digest(month, subject, "sha256")[:16]
