"""What a policy asks for, and what differs between two, in words.

Rule: a default is never changed, and asks for nothing. So a key that is added later changes no policy that does not
name it, and its digest stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Final

MEANING: Final[Mapping[str, str]] = {
    "fmr": "how often a stranger may be taken for the holder",
    "attack_detection": "whether a detector has to say that it is a real person",
    "attack_threshold": "from which probability a face is a real person's",
    "attack_frames": "frames that the detector judges",
    "capture_s": "seconds to bring the face into position",
    "tries": "failed comparisons of one card before a person decides",
    "tries_count": "whether a capture without a face counts as one of them",
    "eyes_px": "least distance between the eyes",
    "sharpness": "least sharpness of the face",
    "brightness": "light of the face",
    "clock_floor": "what happens when the clock cannot tell whether a card is still valid",
    "skew_s": "seconds by which issuers' clocks may differ",
    "trust_warn_h": "hours until the trust list is called old",
    "trust_refer_h": "hours until a person decides about everybody",
    "trust_refuse_h": "hours until nobody is admitted by it",
    "unsealed_h": "hours that entries may wait for the token",
    "unsealed_entries": "entries that may wait for the token",
    "status_refuse_h": "hours that a status list counts as current",
    "status_unknown": "what happens to a card whose status nobody can tell",
    "tasks": "things that a person is asked to do",
    "gallery": "which gallery knows faces that cards do not carry",
    "lane": "whether people come with a card or with the face alone",
    "fpir": "how often a stranger may be taken for anybody in the gallery",
    "rules.timezone": "the wall clock of the site",
    "rules.hours": "when who may come",
    "rules.holidays": "days on which only holiday hours count",
    "rules.hours_floor": "what happens when the clock cannot tell whether it is open",
    "rules.groups": "who is in which group",
    "rules.zones": "who may enter where, and how many",
    "rules.deny": "groups that nobody admits here",
    "rules.watch": "groups whose coming is noted",
    "rules.duress": "groups whose coming is a silent alarm",
    "rules.slow": "groups for whom it stays open longer",
    "rules.slow_s": "seconds longer",
    "rules.passback.kind": "what happens to who is inside already",
    "rules.passback.reset_h": "hours after which nobody is thought to be inside",
    "rules.passback.again_s": "seconds in which one holder may not pass again",
    "rules.passback.bypass": "groups that are not asked whether they are inside",
    "rules.passback.alone": "what happens while the other gates are not heard",
    "rules.passback.silent_s": "seconds of silence until a gate counts as alone",
    "rules.second": "who comes with somebody else",
    "rules.check_one_in": "one in so many is sent to a person by lot",
    "rules.check_again_h": "hours for which the lot stays where it fell",
    "rules.check_spared": "groups that are not",
    "rules.overrule.reasons": "what an operator may let pass",
    "rules.overrule.within_s": "seconds after the visit in which an operator may",
    "rules.assist": "groups whose badge lets in whom an operator could",
    "rules.programme": "the benefit that is handed out",
}
"""Each key of a policy that decides something."""


def asked(value: object) -> object:
    """What a policy says beyond the defaults: the same for the same rules, whatever other keys there are."""
    if is_dataclass(value):
        found = ((each.name, getattr(value, each.name), _default(each)) for each in fields(value))
        return sorted((name, asked(said)) for name, said, default in found if said != default)
    return [asked(one) for one in value] if isinstance(value, tuple) else value


def _default(each: Field[Any]) -> object:
    return each.default if each.default_factory is MISSING else each.default_factory()


def differences(before: object, after: object, path: str = "") -> Iterator[str]:
    """One sentence for each key that differs."""
    assert is_dataclass(before) and is_dataclass(after)
    for each in fields(before):
        old, new = getattr(before, each.name), getattr(after, each.name)
        name = f"{path}{each.name}"
        if old == new:
            continue
        if is_dataclass(old) and is_dataclass(new):
            yield from differences(old, new, f"{name}.")
        elif isinstance(old, tuple) and isinstance(new, tuple):
            yield _with_meaning(name, _parts(old, new))
        else:
            yield _with_meaning(name, f"{_said(old)} → {_said(new)}")


def _parts(old: tuple[Any, ...], new: tuple[Any, ...]) -> str:
    gone = [f"− {_said(one)}" for one in old if one not in new]
    come = [f"+ {_said(one)}" for one in new if one not in old]
    return "; ".join((*gone, *come)) or "in another order"


def _with_meaning(name: str, what: str) -> str:
    meaning = MEANING.get(name)
    return f"{name}: {what}" + (f"   ({meaning})" if meaning else "")


def _said(value: object) -> str:
    if is_dataclass(value):
        told = ((each.name, getattr(value, each.name), each.default) for each in fields(value))
        return ", ".join(f"{name} {_said(found)}" for name, found, default in told if found != default)
    if isinstance(value, tuple):
        return " · ".join(_said(one) for one in value) or "none"
    return "none" if value == "" else f"{value:g}" if isinstance(value, float) else str(value)
