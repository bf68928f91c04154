"""The way out: how fast a backlog drains through a real broker, and how long one entry takes when there is none.

Broker, TLS, sender, collector and its store are the real ones, all on this machine; sender and collector in processes
of their own, as on two machines. The log is in memory: what is measured is the way out, not the card.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from edge.bench.fleet import measure_fleet
from edge.bench.sides import GATE, PATIENCE_S, address, fleet, resident_mib, side
from edge.bench.store import measure_stores
from edge.demo import broker as brokers
from edge.errors import DeviceError
from edge.sync.collector import Collector, signing_key
from edge.sync.connection import Link
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.simulated import SimulatedLog

_PACE = Pace(connect_s=0.05, connect_most_s=0.5, retry_s=2.0)
LEAST_PER_S = 5000
MOST_MIB = 64


def measure(console: Console, entries: int = 100_000, gates: int = 1000) -> dict[str, Any]:
    """Drain a backlog, let one collector store, then run a fleet.

    Raises:
        DeviceError: mosquitto is missing, or it did not come to an end.
    """
    with console.status(f"a backlog of {entries} entries drains"):
        found = measure_drain(entries)
    with console.status(f"one collector stores {entries // 2} entries"):
        found |= measure_stores(entries // 2)
    with console.status(f"{gates} gates write"):
        found |= measure_fleet(gates)
    figures = {name: round(value, 3) for name, value in found.items()}
    targets = [
        ("drain", "entries/s", figures["drain_per_s"], figures["drain_per_s"] >= LEAST_PER_S),
        ("memory the sender takes", "MiB", figures["sender_mib"], figures["sender_mib"] <= MOST_MIB),
        ("entries lost by the fleet", "", figures["fleet_lost"], figures["fleet_lost"] == 0),
    ]
    named = [{"name": name, "unit": unit, "found": found, "met": met} for name, unit, found, met in targets]
    return {**figures, "targets": named}


def measure_drain(entries: int = 100_000, single: int = 50, sealed_every: int = 64) -> dict[str, float]:
    """Drain ``entries``, then send ``single`` entries one by one.

    Returns:
        ``drain_s``, ``drain_per_s``; CPU seconds and greatest resident MiB of both sides; ``single_p50_ms`` and
        ``single_p95_ms``: from the entry in the log to its acknowledgement on the gate's disk.

    Raises:
        DeviceError: mosquitto is missing, or it did not come to an end.
    """
    with (
        tempfile.TemporaryDirectory(prefix="edge-bench-") as name,
        brokers.start(Path(name) / "broker", (GATE,)) as broker,
    ):
        folder = Path(name)
        collecting = side("sync", "collect", folder, broker, "1")
        sending = side("sync", "send", folder, broker, str(entries), str(single), str(sealed_every))
        try:
            out, _ = sending.communicate(timeout=PATIENCE_S)
            assert collecting.stdin is not None
            got, _ = collecting.communicate(b"\n", timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise DeviceError("broker", f"{entries} entries did not drain within {PATIENCE_S:.0f} s") from error
        finally:
            for each in (sending, collecting):
                each.kill()
                each.wait()
    if not out or not got:
        raise DeviceError("broker", "the measurement ended early")
    return {**json.loads(out), **json.loads(got)}


def _send(link: Link, key: Path, folder: Path, entries: int, single: int, sealed_every: int) -> dict[str, Any]:
    log = SimulatedLog(address().origin)
    log.grow(entries, sealed_every)
    before, cpu = resident_mib(), time.process_time()
    sender = Sender(address(), link, pinned(key), log, log, folder / "sync.db", pace=_PACE)
    sender.start()
    _until(sender, 1)
    began, first = time.perf_counter(), sender.position.acked
    _until(sender, entries)
    took = time.perf_counter() - began
    figures = {
        "drain_s": took,
        "drain_per_s": (entries - first) / took,
        "sender_cpu_s": time.process_time() - cpu,
        "sender_mib": resident_mib() - before,
    }
    times = []
    for _ in range(single):
        began = time.perf_counter()
        log.grow(1)
        _until(sender, log.size())
        times.append(1000 * (time.perf_counter() - began))
    sender.stop()
    times.sort()
    if times:
        figures["single_p50_ms"] = times[len(times) // 2]
        figures["single_p95_ms"] = times[int(len(times) * 0.95)]
    return figures


def _collect(link: Link, key: Path, folder: Path, name: str, gates: int) -> dict[str, Any]:
    points = {gate: SimulatedLog(address(gate).origin).point for gate in fleet(gates)}
    before, cpu = resident_mib(), time.process_time()
    collector = Collector(link, signing_key(key), points, folder / "received.db", name=name, pace=_PACE)
    collector.start()
    sys.stdin.readline()
    collector.condition()
    done = collector.figures
    collector.stop()
    return {
        "collector_cpu_s": time.process_time() - cpu,
        "collector_mib": resident_mib() - before,
        "collector_entries": float(done.entries),
        "collector_again": float(done.again),
        "collector_batches": float(done.batches),
    }


def _until(sender: Sender, acked: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while sender.position.acked < acked:
        sender.condition()
        if time.monotonic() > deadline:
            raise DeviceError("broker", "nothing moves")
        time.sleep(0.002)


def _main(what: str, port: str, *rest: str) -> None:
    ca, certificate, identity, key, folder = (Path(path) for path in rest[:5])
    link = Link(brokers.HOST, int(port), ca, certificate, identity)
    if what == "send":
        figures = _send(link, key, folder, *(int(number) for number in rest[5:]))
    else:
        figures = _collect(link, key, folder, rest[5], int(rest[6]))
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    _main(*sys.argv[1:])
