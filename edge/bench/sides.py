"""The sides of a measurement over a real broker, each in a process of its own, as on machines of their own."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from edge.demo.broker import COLLECTOR, Broker
from edge.sync.topics import Address

GATE = "demo/lobby/gate-1"
PATIENCE_S = 300.0


def side(module: str, what: str, folder: Path, broker: Broker, *more: str, name: str = "") -> subprocess.Popen[bytes]:
    """Start one: a gate, or a collector under ``name``; it is told where the broker is and who it is to it."""
    name = name or (COLLECTOR if what == "collect" else GATE)
    identity = broker.identities[name]
    key = broker.signing_key if what == "collect" else broker.collector_key
    paths = (broker.ca, identity.certificate, identity.key, key, folder)
    more = (name, *more) if what == "collect" else more
    command = [sys.executable, "-m", f"edge.bench.{module}", what, str(broker.port), *map(str, paths), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def address(name: str = GATE) -> Address:
    """A gate by its name."""
    return Address(*name.split("/"))


def fleet(gates: int) -> list[str]:
    """Names of so many gates."""
    return [f"demo/lobby/gate-{number}" for number in range(1, gates + 1)]


def resident_mib() -> float:
    """The most memory that this process had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
