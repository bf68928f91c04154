"""Commands from an operator to one gate: signed, for this gate only, for minutes only, once only.

Rules:

1. Signed by an operator whom the charter lets command this, as a command and nothing else, before the charter's end.
2. For exactly this gate, for ten minutes at most, and not past its end. A gate that only has a floor for the time
   cannot tell whether it is past: then it obeys what closes or reads, never what opens.
3. Each operator counts: a command counts higher than every one before, or it was here already. The count is on disk
   before anything is done.
4. How it came never counts for it: whoever carries it, retained or not, is not asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from edge.errors import Reason, Refusal
from edge.trust.charter import MAY, Charter
from edge.trust.cose import Signer
from edge.trust.interval import Interval, Validity
from edge.trust.signed import Purpose, Times, counting, seal, unseal

LIMIT: Final = 4096
LONGEST: Final = timedelta(minutes=10)
SKEW: Final = timedelta(seconds=30)
OPENING: Final = frozenset({"unlock"})
_MEMBERS: Final = ("what", "gate", "count", "arguments")


@dataclass(frozen=True)
class Command:
    """A verified command.

    Attributes:
        what: one of ``MAY``.
        by: the operator's name in the charter.
        count: of this operator; higher than ever before.
        arguments: whole numbers and truths by name.
        digest: SHA-256 of the command as it came, by which its answer is found.
    """

    what: str
    by: str
    count: int
    arguments: Mapping[str, int | bool] = field(default_factory=dict)
    digest: bytes = b""


def order(
    what: str, gate: str, count: int, times: Times, by: Signer, arguments: Mapping[str, int | bool] | None = None
) -> bytes:
    """Sign a command for the gate whose log has this origin."""
    members = {"what": what, "gate": gate, "count": count, "arguments": dict(arguments or {})}
    return seal(Purpose.COMMAND, members, times, by)


def heard(data: bytes, charter: Charter, gate: str, counts: Mapping[str, int], now: Interval) -> Command:
    """Verify a command.

    Args:
        data: as it came.
        charter: who may command what.
        gate: origin of this gate's log.
        counts: by operator, the highest that was obeyed.
        now: the interval that now lies in.

    Raises:
        Refusal: it is not obeyed; the detail says why.
    """
    if charter.expires is not None and now.within(None, charter.expires, SKEW) is Validity.EXPIRED:
        raise Refusal(Reason.EXPIRED, "the charter that names the operators has ended")
    keys = [operator.key for operator in charter.operators]
    document = unseal(Purpose.COMMAND, data, keys, _MEMBERS, LIMIT)
    members = document.members
    what, count, arguments = members["what"], counting(members["count"]), _arguments(members["arguments"])
    by = next(
        (one for one in charter.operators if one.key.thumbprint == document.by.thumbprint and what in one.may), None
    )
    if by is None or what not in MAY:
        raise Refusal(Reason.BAD_SIGNATURE, "this operator may not command that")
    if members["gate"] != gate:
        raise Refusal(Reason.WRONG_AUDIENCE, "a command for another gate")
    if document.expires - document.issued_at > LONGEST:
        raise Refusal(Reason.BAD_CLAIM, "a command that would be good for too long")
    match now.within(document.issued_at, document.expires, SKEW):
        case Validity.EXPIRED:
            raise Refusal(Reason.EXPIRED, "a command past its end")
        case Validity.NOT_YET:
            raise Refusal(Reason.NOT_YET_VALID, "a command from the future")
        case Validity.UNSURE if what in OPENING:
            raise Refusal(Reason.TIME_UNSURE, "a command that opens, and the gate cannot tell the time")
        case _:
            pass
    if count <= counts.get(by.name, 0):
        raise Refusal(Reason.BAD_CLAIM, "a command that was here already, or an older one")
    return Command(what, by.name, count, arguments, hashlib.sha256(data).digest())


def _arguments(value: Any) -> Mapping[str, int | bool]:
    if not isinstance(value, dict) or len(value) > 8:
        raise Refusal(Reason.BAD_CLAIM, "arguments are not a map")
    for name, given in value.items():
        if not isinstance(name, str) or not isinstance(given, int) or not 0 <= given < 1 << 53:
            raise Refusal(Reason.BAD_CLAIM, "an argument is neither a number nor a truth")
    return value
