"""The operator's desk of the demo: where a profile needs more than a list of issuers, it publishes as a site does.

A benefit point hands nothing out before a signed message has opened a cycle. The desk makes root keys, puts the issuer
of the cards on its list, opens the cycle and lays everything into the folder of bundles, as from a memory stick.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from edge.demo.cards import ISSUER, Issuers
from edge.settings import Trust
from edge.sync import bundle
from edge.sync.office import Office

AMOUNT: Final = 2
"""Portions that each person receives."""


def published(folder: Path, issuers: Issuers, site: str, programme: str) -> Trust:
    """Publish for this site; what its gate is told about trust.

    Args:
        folder: of the stage.
        issuers: of the demo's cards.
        site: of the gate.
        programme: the benefit whose cycle is opened.
    """
    now = datetime.now(UTC)
    office = Office.begin(folder / "desk", "demo")
    keys = [{**key, "public": base64.b64encode(key["public"]).decode()} for key in issuers.listed()]
    office.book.add_issuer(ISSUER, {"keys": keys})
    office.book.open_cycle(site, programme, f"{now:%Y-%m}", AMOUNT, now + timedelta(days=90))
    office.publish(now)
    (folder / "anchor.json").write_bytes(office.anchor())
    bundles = folder / "bundles"
    bundles.mkdir()
    (bundles / f"demo{bundle.SUFFIX}").write_bytes(bundle.pack(office.current()))
    return Trust(folder / "trust.cbor", (office.list_key(),), folder / "anchor.json", "demo", bundles)
