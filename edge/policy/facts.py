"""What a site's rules are held against: whole numbers and short words, as they stand in the entry.

Rule: what no rule of the policy asks for is None, and None is not written down. No claim, no date of birth, no list
stands here: only into which of the policy's own groups they put somebody.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SiteFacts:
    """What a site's rules are held against.

    Attributes:
        zone: where this gate leads.
        groups: of the policy's groups, those that the holder is in.
        assists: entry of the refusal that this holder's badge lets in; None for none.
        untold: of the policy's groups, those of which nobody can tell, because the site's lists are not there.
        local_from: least minute since 1970 that the site's wall clock may show.
        local_to: greatest; None when there is none.
        passed_s: seconds since the holder last went through a gate of the site; None for not known to have.
        passed_zone: into which zone.
        alone: whether the other gates of the site are not heard.
        inside: how many are known to be in the zone.
        second_s: seconds since somebody else, who may stand beside this holder, was found good.
        drawn: the lot, 0 to 9999.
        cycle: number of the benefit's open cycle.
        benefit: ``free``, ``reserved``, ``received``, ``lost`` when the ledger cannot tell, or ``unnamed``
            when it would be free and the card does not say whose it is.
    """

    zone: str | None = None
    groups: tuple[str, ...] | None = None
    local_from: int | None = None
    local_to: int | None = None
    passed_s: int | None = None
    passed_zone: str | None = None
    alone: bool | None = None
    inside: int | None = None
    second_s: int | None = None
    drawn: int | None = None
    cycle: int | None = None
    benefit: str | None = None
    assists: int | None = None
    untold: tuple[str, ...] | None = None
