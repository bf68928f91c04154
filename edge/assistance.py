"""Somebody whom the gate knows lets in whom it refused just before: a badge instead of the operator page.

Rules:

1. The badge is a visit of its own, with everything that is asked of anybody but what concerns going through: a genuine
   card, the right face. It never opens for its holder.
2. What it overrules is the newest visit, of somebody else, and only what an operator could overrule, for as long.
3. Once: whoever was let in, or came after, is refused no longer.
4. Whether it may be overruled is asked when the badge is read, and again when its holder was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.audit.entry import Event, Kind, Value
from edge.decision import AccessDecision, Policy, entry, overruled


@dataclass(frozen=True)
class Refused:
    """The newest visit, when it was refused.

    Attributes:
        decision: on it.
        visit: its entry.
        at_s: when, seconds of this boot.
    """

    decision: AccessDecision
    visit: int
    at_s: float


def offered(
    policy: Policy, refused: Refused | None, names: Sequence[bytes], groups: Sequence[str] | None, now_s: float
) -> int | None:
    """The refusal that a holder with these pseudonyms and groups may overrule by the badge; None for none."""
    if refused is None or set(policy.rules.assist).isdisjoint(groups or ()) or refused.decision.subject in names:
        return None
    stands = overruled(policy, entry(refused.decision, policy).fields, int(now_s - refused.at_s))
    return refused.visit if stands is None else None


def overriding(
    policy: Policy, refused: Refused | None, badge: AccessDecision, visit: int, now_s: float
) -> Event | None:
    """The entry by which that person is let in, by the badge that was shown in ``visit``; None for nobody by now."""
    if refused is None or refused.visit != badge.facts.assists:
        return None
    written, age_s = entry(refused.decision, policy), int(now_s - refused.at_s)
    if overruled(policy, written.fields, age_s) is not None:
        return None
    told: dict[str, Value] = {"by": "badge", "role": "assistant", "why": "identity-checked", "badge": visit}
    told |= {"visit": refused.visit, "age_s": age_s}
    told |= {name: written.fields[name] for name in ("reason", "facts")}
    return Event(Kind.OVERRIDE, told, written.subject, written.issuer, written.trust, written.digests)
