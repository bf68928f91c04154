"""What the identity services read at their start, and edge-web does not start without."""

from __future__ import annotations

from collections.abc import Iterator

from edge.app.checks.finding import Finding
from edge.settings import Settings, SettingsError


def services_of(settings: Settings) -> Iterator[Finding]:
    """Whether the keys of issuers and signers, and the galleries at the gate, are what edge-web takes."""
    if not settings.iavs.enabled:
        return
    from edge.app.iavs import handed_of, keys_of

    try:
        issuers, signers = keys_of(settings)
        handed_of(settings)
    except SettingsError as error:
        yield Finding("iavs", False, str(error), "mend it: edge-web, with screen and operator page, does not start so")
        return
    several = issuers is not None and len(issuers) > 1 and issuers.anybody > 0
    remedy = (
        'write "iss" beside each key of iavs.issuers: one without it signs in every issuer\'s name' if several else ""
    )
    signed = "" if signers is None else f", {len(signers)} keys may sign samples"
    yield Finding("iavs", True, f"{len(issuers or ())} keys may sign access tokens{signed}", remedy)
