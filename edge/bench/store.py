"""The collector's own work: verified entries per second of one process, on SQLite and on PostgreSQL.

PostgreSQL is a server of its own on this machine; ``EDGE_POSTGRES`` names another database (``postgresql://...``) that
may be written to.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console

from edge.demo import database
from edge.sync.batch import ENTRIES, Ack, Batch, pack, sign, unpack
from edge.sync.received import Received
from edge.sync.simulated import SimulatedLog

_TOGETHER = 4  # messages between two commits, as a gate's window lets through
_GATES = 64
LEAST_PER_S = 5000


def measure(console: Console, entries: int = 40_000) -> dict[str, Any]:
    """Unpack, verify and store the batches of one gate, with a commit for every few of them."""
    with console.status(f"one collector stores {entries} entries"):
        figures = {name: round(rate) for name, rate in measure_stores(entries).items()}
    slowest = min(rate for name, rate in figures.items() if "small" not in name)
    target = {"name": "stored by one collector", "unit": "entries/s", "found": slowest, "met": slowest >= LEAST_PER_S}
    return {**figures, "targets": [target]}


def measure_stores(entries: int) -> dict[str, float]:
    """Verified entries per second of one collector on SQLite, and on PostgreSQL where there is one.

    Returns:
        ``..._per_s`` in full messages of one gate; ``..._small_per_s`` one entry a message, of many gates in turn.
    """
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name:
        figures = _both("sqlite", Path(name) / "received.db", entries)
    if where := os.environ.get("EDGE_POSTGRES", ""):
        figures |= _both("postgresql", where, entries)
    elif database.programs() is not None:
        with database.Database() as server:
            figures |= _both("postgresql", server.where, entries)
    return figures


def _both(name: str, where: Path | str, entries: int) -> dict[str, float]:
    small = measure_small(where, max(1, entries // 20 // _GATES))
    return {f"{name}_per_s": measure_store(where, entries), f"{name}_small_per_s": small}


def measure_small(where: Path | str, rounds: int) -> float:
    """Messages with one entry each, of many gates in turn, a commit and an acknowledgement of each for every round."""
    logs = [SimulatedLog(f"urn:gate:bench:{time.time_ns()}:{number}") for number in range(_GATES)]
    key = ec.generate_private_key(ec.SECP256R1())
    for log in logs:
        log.grow(rounds)
    turns = [
        [(log, pack(Batch(log.origin, 1, each, tuple(log.read(each, 1))))) for log in logs] for each in range(rounds)
    ]
    received = Received(where)
    began = time.perf_counter()
    for messages in turns:
        with received.committed():
            received.expect((log.origin, 1) for log, _ in messages)
            taken = [(log, received.take(unpack(message), log.point).known) for log, message in messages]
        for log, known in taken:
            sign(Ack(log.origin, 1, known.tree.size, known.tree.root(), known.sealed.size, bytes(8), 1), key)
    took = time.perf_counter() - began
    received.close()
    return rounds * _GATES / took


def measure_store(where: Path | str, entries: int) -> float:
    """Entries per second, from the packed message to the commit."""
    log = SimulatedLog(f"urn:gate:bench:{time.time_ns()}:a")
    log.grow(entries, 64)
    messages = []
    for first in range(0, entries, ENTRIES):
        reached = tuple(one.encode() for one in log.checkpoints if first < one.head.size <= first + ENTRIES)
        messages.append(pack(Batch(log.origin, 1, first, tuple(log.read(first, ENTRIES)), reached)))
    received = Received(where)
    began = time.perf_counter()
    for at in range(0, len(messages), _TOGETHER):
        with received.committed():
            for message in messages[at : at + _TOGETHER]:
                received.take(unpack(message), log.point)
    took = time.perf_counter() - began
    received.close()
    return entries / took
