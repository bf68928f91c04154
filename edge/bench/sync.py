"""The way out: how fast a backlog drains through a real broker, and how long one entry takes when there is none.

Broker, TLS, sender, collector and its store are the real ones, all on this machine; sender and collector in processes
of their own, as on two machines. The log is in memory: what is measured is the way out, not the card.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from edge.demo import broker as brokers
from edge.demo.broker import COLLECTOR, COLLECTORS, Broker
from edge.errors import DeviceError
from edge.sync.collector import Collector, signing_key
from edge.sync.connection import Link
from edge.sync.received import counted
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.simulated import SimulatedLog
from edge.sync.topics import Address

GATE = "demo/lobby/gate-1"
_PACE = Pace(connect_s=0.05, connect_most_s=0.5, retry_s=2.0)
_PATIENCE_S = 300.0
LEAST_PER_S = 5000
MOST_MIB = 64
_TOGETHER = 100  # gates in one process


def measure(console: Console, entries: int = 100_000, gates: int = 100) -> dict[str, Any]:
    """Drain a backlog, then run a fleet.

    Raises:
        DeviceError: mosquitto is missing, or it did not come to an end.
    """
    with console.status(f"a backlog of {entries} entries drains"):
        drained = measure_drain(entries)
    with console.status(f"{gates} gates write"):
        fleet = measure_fleet(gates)
    figures = {name: round(value, 3) for name, value in {**drained, **fleet}.items()}
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
        collecting = _side("collect", folder, broker, "1")
        sending = _side("send", folder, broker, str(entries), str(single), str(sealed_every))
        try:
            out, _ = sending.communicate(timeout=_PATIENCE_S)
            assert collecting.stdin is not None
            got, _ = collecting.communicate(b"\n", timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise DeviceError("broker", f"{entries} entries did not drain within {_PATIENCE_S:.0f} s") from error
        finally:
            for side in (sending, collecting):
                side.kill()
                side.wait()
    if not out or not got:
        raise DeviceError("broker", "the measurement ended early")
    return {**json.loads(out), **json.loads(got)}


def measure_fleet(gates: int = 100, entries: int = 10, within_s: float = 20.0) -> dict[str, float]:
    """Let many gates write ``entries`` each, at random moments within ``within_s``; two collectors share one store.

    Returns:
        ``fleet_gates``, ``fleet_connected_s`` until all were connected, ``fleet_p50_ms`` and ``fleet_p95_ms`` from the
        entry to its acknowledgement on the gate's disk, ``fleet_lost``.

    Raises:
        DeviceError: mosquitto is missing, or it did not come to an end.
    """
    with (
        tempfile.TemporaryDirectory(prefix="edge-bench-") as name,
        brokers.start(Path(name) / "broker", _fleet(gates)) as broker,
    ):
        folder = Path(name)
        sides = [_side("collect", folder, broker, str(gates), name=collector) for collector in COLLECTORS]
        parts = [
            _side("fleet", folder, broker, str(first), str(min(first + _TOGETHER, gates)), str(entries), str(within_s))
            for first in range(0, gates, _TOGETHER)
        ]
        try:
            outs = [part.communicate(timeout=_PATIENCE_S + within_s)[0] for part in parts]
        except subprocess.TimeoutExpired as error:
            raise DeviceError("broker", f"{gates} gates did not come to an end") from error
        finally:
            for side in (*parts, *sides):
                side.kill()
                side.communicate()
        arrived = sum(counted(folder / "received.db").values())
    if not all(outs):
        raise DeviceError("broker", "the measurement ended early")
    told = [json.loads(out) for out in outs]
    times = sorted(each for part in told for each in part["times"])
    if not times:
        raise DeviceError("broker", "no entry of the fleet was acknowledged")
    return {
        "fleet_gates": float(gates),
        "fleet_connected_s": max(part["connected_s"] for part in told),
        "fleet_p50_ms": times[len(times) // 2],
        "fleet_p95_ms": times[int(len(times) * 0.95)],
        "fleet_lost": float(gates * entries - arrived),
    }


def _fleet(gates: int) -> list[str]:
    return [GATE, *(f"demo/lobby/fleet-{number}" for number in range(2, gates + 1))]


def _side(what: str, folder: Path, broker: Broker, *more: str, name: str = "") -> subprocess.Popen[bytes]:
    name = name or (COLLECTOR if what == "collect" else GATE)
    identity = broker.identities[name]
    key = broker.signing_key if what == "collect" else broker.collector_key
    paths = (broker.ca, identity.certificate, identity.key, key, folder)
    more = (name, *more) if what == "collect" else more
    command = [sys.executable, "-m", "edge.bench.sync", what, str(broker.port), *map(str, paths), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _send(link: Link, key: Path, folder: Path, entries: int, single: int, sealed_every: int) -> dict[str, Any]:
    log = SimulatedLog(_address().origin)
    log.grow(entries, sealed_every)
    before, cpu = _resident_mib(), time.process_time()
    sender = Sender(_address(), link, pinned(key), log, log, folder / "sync.db", pace=_PACE)
    sender.start()
    _until(sender, 1)
    began, first = time.perf_counter(), sender.position.acked
    _until(sender, entries)
    took = time.perf_counter() - began
    figures = {
        "drain_s": took,
        "drain_per_s": (entries - first) / took,
        "sender_cpu_s": time.process_time() - cpu,
        "sender_mib": _resident_mib() - before,
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


def _run_fleet(link: Link, key: Path, folder: Path, names: list[str], entries: int, within_s: float) -> dict[str, Any]:
    """Gates that write at random moments; milliseconds from each entry to its acknowledgement."""
    collector, senders = pinned(key), []
    for name in names:
        log = SimulatedLog(_address(name).origin)
        identity = link.certificate.with_name(name.replace("/", "_") + ".pem")
        its = replace(link, certificate=identity, key=identity.with_suffix(".key"))
        sender = Sender(_address(name), its, collector, log, log, folder / name / "sync.db", pace=_PACE)
        senders.append((sender, log))
    began = time.perf_counter()
    for sender, _ in senders:
        sender.start()
    while any(sender.condition() for sender, _ in senders):
        time.sleep(0.05)
    connected = time.perf_counter() - began
    return {"connected_s": connected, "times": _written(senders, entries, within_s)}


def _written(senders: list[tuple[Sender, SimulatedLog]], entries: int, within_s: float) -> list[float]:
    chance = random.Random(169)  # noqa: S311 -- the same moments each time
    began, total = time.perf_counter(), len(senders) * entries
    due = deque(sorted((began + chance.uniform(0, within_s), number % len(senders)) for number in range(total)))
    waiting: list[deque[float]] = [deque() for _ in senders]
    times: list[float] = []
    while len(times) < total and time.perf_counter() - began < _PATIENCE_S:
        now = time.perf_counter()
        while due and due[0][0] <= now:
            _, number = due.popleft()
            senders[number][1].grow(1)
            waiting[number].append(now)
        for (sender, log), since in zip(senders, waiting, strict=True):
            while len(since) > log.size() - sender.position.acked:
                times.append(1000 * (now - since.popleft()))
        time.sleep(0.01)
    return times


def _collect(link: Link, key: Path, folder: Path, name: str, gates: int) -> dict[str, Any]:
    points = {gate: SimulatedLog(_address(gate).origin).point for gate in _fleet(gates)}
    before, cpu = _resident_mib(), time.process_time()
    collector = Collector(link, signing_key(key), points, folder / "received.db", name=name, pace=_PACE)
    collector.start()
    sys.stdin.readline()
    collector.condition()
    done = collector.figures
    collector.stop()
    return {
        "collector_cpu_s": time.process_time() - cpu,
        "collector_mib": _resident_mib() - before,
        "collector_entries": float(done.entries),
        "collector_again": float(done.again),
        "collector_batches": float(done.batches),
    }


def _until(sender: Sender, acked: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while sender.position.acked < acked:
        sender.condition()
        if time.monotonic() > deadline:
            raise DeviceError("broker", "nothing moves")
        time.sleep(0.002)


def _resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _address(name: str = GATE) -> Address:
    return Address(*name.split("/"))


def _main(what: str, port: str, *rest: str) -> None:
    ca, certificate, identity, key, folder = (Path(path) for path in rest[:5])
    link = Link(brokers.HOST, int(port), ca, certificate, identity)
    if what == "send":
        figures = _send(link, key, folder, *(int(number) for number in rest[5:]))
    elif what == "fleet":
        first, last = int(rest[5]), int(rest[6])
        figures = _run_fleet(link, key, folder, _fleet(last)[first:], int(rest[7]), float(rest[8]))
    else:
        figures = _collect(link, key, folder, rest[5], int(rest[6]))
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    _main(*sys.argv[1:])
