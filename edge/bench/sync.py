"""The way out: how fast a backlog drains through a real broker, and how long one entry takes when there is none.

Broker, TLS, sender, collector and its store are the real ones, all on this machine; sender and collector in processes
of their own, as on two machines. The log is in memory: what is measured is the way out, not the card.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edge.demo import broker as brokers
from edge.demo.broker import COLLECTOR, Broker
from edge.errors import DeviceError
from edge.sync.collector import Collector, signing_key
from edge.sync.connection import Link
from edge.sync.sender import Pace, Sender, pinned
from edge.sync.simulated import SimulatedLog
from edge.sync.topics import Address

GATE = "demo/lobby/gate-1"
_PACE = Pace(connect_s=0.05, connect_most_s=0.5, retry_s=2.0)
_PATIENCE_S = 300.0


def measure(entries: int = 100_000, single: int = 50, sealed_every: int = 64) -> dict[str, float]:
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
        log = SimulatedLog(_address().origin)
        collecting = _side("collect", folder, broker, log.point.hex())
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


def _side(what: str, folder: Path, broker: Broker, *more: str) -> subprocess.Popen[bytes]:
    identity = broker.identities[COLLECTOR if what == "collect" else GATE]
    key = broker.signing_key if what == "collect" else broker.collector_key
    paths = (broker.ca, identity.certificate, identity.key, key, folder)
    command = [sys.executable, "-m", "edge.bench.sync", what, str(broker.port), *map(str, paths), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _send(link: Link, key: Path, folder: Path, entries: int, single: int, sealed_every: int) -> dict[str, float]:
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


def _collect(link: Link, key: Path, folder: Path, point: bytes) -> dict[str, float]:
    before, cpu = _resident_mib(), time.process_time()
    collector = Collector(link, signing_key(key), {GATE: point}, folder / "received.db", pace=_PACE)
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


def _address() -> Address:
    return Address(*GATE.split("/"))


def _main(what: str, port: str, *rest: str) -> None:
    ca, certificate, identity, key, folder = (Path(path) for path in rest[:5])
    link = Link(brokers.HOST, int(port), ca, certificate, identity)
    if what == "send":
        figures = _send(link, key, folder, *(int(number) for number in rest[5:]))
    else:
        figures = _collect(link, key, folder, bytes.fromhex(rest[5]))
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    _main(*sys.argv[1:])
