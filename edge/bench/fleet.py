"""A thousand gates at one broker with two collectors: is anything lost, and how long does an entry take.

A gate here is a real connection, window, batch and check of the acknowledgement, without a thread and a disk of its
own: one loop serves hundreds of them, so that what is measured is broker and collectors and not a thousand threads on
one machine.
"""

from __future__ import annotations

import json
import random
import secrets
import select
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge.bench.sides import PATIENCE_S, address, fleet, side
from edge.demo import broker as brokers
from edge.demo.broker import COLLECTORS
from edge.errors import DeviceError
from edge.sync.batch import CHECKPOINTS, Batch, pack, verify
from edge.sync.connection import Connection, Link, Message
from edge.sync.received import counted
from edge.sync.sender import pinned
from edge.sync.simulated import SimulatedLog
from edge.sync.window import Window

_TOGETHER = 500  # gates in one process
_SEALED_EVERY = 5
_SWEEP_S = 0.5


def measure_fleet(gates: int = 1000, entries: int = 5, within_s: float = 20.0) -> dict[str, float]:
    """Let many gates write ``entries`` each, at random moments within ``within_s``; two collectors share one store.

    Returns:
        ``fleet_gates``; ``fleet_connected_s`` until all were connected, one after the other in each process;
        ``fleet_p50_ms`` and ``fleet_p95_ms`` from the entry to its verified acknowledgement; ``fleet_lost``.

    Raises:
        DeviceError: mosquitto is missing, or it did not come to an end.
    """
    names = fleet(gates)
    with (
        tempfile.TemporaryDirectory(prefix="edge-bench-") as name,
        brokers.start(Path(name) / "broker", names) as broker,
    ):
        folder = Path(name)
        sides = [side("sync", "collect", folder, broker, str(gates), name=collector) for collector in COLLECTORS]
        parts = [
            side(
                "fleet",
                "gates",
                folder,
                broker,
                str(first),
                str(min(first + _TOGETHER, gates)),
                str(entries),
                f"{within_s}",
            )
            for first in range(0, gates, _TOGETHER)
        ]
        try:
            outs = [part.communicate(timeout=PATIENCE_S + within_s)[0] for part in parts]
        except subprocess.TimeoutExpired as error:
            raise DeviceError("broker", f"{gates} gates did not come to an end") from error
        finally:
            for each in (*parts, *sides):
                each.kill()
                each.communicate()
        arrived = sum(counted(folder / "received.db").values())
    if not all(outs):
        raise DeviceError("broker", "the measurement ended early")
    told = [json.loads(out) for out in outs]
    times = sorted(each for part in told for each in part["times"])
    return {
        "fleet_gates": float(gates),
        "fleet_connected_s": max(part["connected_s"] for part in told),
        "fleet_p50_ms": times[len(times) // 2],
        "fleet_p95_ms": times[int(len(times) * 0.95)],
        "fleet_lost": float(gates * entries - arrived),
    }


class _Gate:
    """One gate of many in one loop."""

    def __init__(self, name: str, link: Link, collector: Path) -> None:
        self._address, self._collector = address(name), pinned(collector)
        certificate = link.certificate.with_name(name.replace("/", "_") + ".pem")
        its = replace(link, certificate=certificate, key=certificate.with_suffix(".key"))
        will = Message(self._address.topic("state"), b'{"online": false}', retain=True)
        self._log = SimulatedLog(self._address.origin)
        self._window = Window(self._address.origin, 1, 0, 0, retry_s=5.0, retry_most_s=60.0)
        self._waiting: deque[float] = deque()
        self.connection = Connection(its, name, will)

    def connect(self) -> int:
        """Connect; the number of its socket."""
        self.connection.open()
        self.connection.subscribe(self._address.topic("ack"))
        self.connection.publish(Message(self._address.topic("state"), b'{"online": true}', retain=True))
        opened = self.connection.socket
        if opened is None:
            raise DeviceError("broker", "connection lost")
        return opened.fileno()

    def write(self, now: float) -> None:
        """Write an entry, and send it if the window is open."""
        self._log.grow(1, _SEALED_EVERY)
        self._waiting.append(now)
        self._send(now)

    def turn(self, now: float) -> list[float]:
        """Take in what came; milliseconds from each entry that was acknowledged to now."""
        opened = self.connection.socket
        self.connection.turn(0)
        while opened is not None and opened.pending():
            self.connection.turn(0)
        for message in self.connection.take():
            self._window.hear(verify(message.payload, self._collector), self._log.size(), self._log.root, now)
        self._window.overdue(now)
        self._send(now)
        done = len(self._waiting) - (self._log.size() - self._window.acked)
        return [1000 * (now - self._waiting.popleft()) for _ in range(done)]

    def _send(self, now: float) -> None:
        first, size = self._window.next, self._log.size()
        reached = self._log.after(1, self._window.next_sealed, CHECKPOINTS)
        if not self._window.open(now) or (first == size and not reached):
            return
        sealed = reached[-1].head.size if reached else self._window.next_sealed
        encoded = tuple(each.encode() for each in reached)
        batch = Batch(self._address.origin, 1, first, tuple(self._log.read(first, size - first)), encoded)
        correlation = secrets.token_bytes(8)
        self.connection.publish(Message(self._address.topic("evt"), pack(batch), correlation=correlation))
        self._window.sent(correlation, size, sealed, now)


def _run(link: Link, collector: Path, names: Sequence[str], entries: int, within_s: float) -> dict[str, Any]:
    gates = [_Gate(name, link, collector) for name in names]
    began = time.perf_counter()
    ready, by_number = select.epoll(), {}
    for gate in gates:
        number = gate.connect()
        ready.register(number, select.EPOLLIN)
        by_number[number] = gate
    connected = time.perf_counter() - began
    times = _written(gates, ready, by_number, entries, within_s)
    for gate in gates:
        gate.connection.close()
    ready.close()
    return {"connected_s": connected, "times": times}


def _written(
    gates: Sequence[_Gate], ready: select.epoll, by_number: dict[int, _Gate], entries: int, within_s: float
) -> list[float]:
    chance = random.Random(169)  # noqa: S311 -- the same moments each time
    began, total = time.perf_counter(), len(gates) * entries
    due = deque(sorted((began + chance.uniform(0, within_s), number % len(gates)) for number in range(total)))
    times: list[float] = []
    swept = began
    while len(times) < total and time.perf_counter() - began < PATIENCE_S:
        now = time.perf_counter()
        while due and due[0][0] <= now:
            gates[due.popleft()[1]].write(now)
        awake: Iterable[_Gate] = [by_number[number] for number, _ in ready.poll(0.01)]
        now = time.perf_counter()
        if now - swept > _SWEEP_S:  # keeps connections alive, and sends again what nobody answered
            awake, swept = gates, now
        for gate in awake:
            times += gate.turn(now)
    return times


def _main(port: str, *rest: str) -> None:
    ca, certificate, identity, key, _ = (Path(path) for path in rest[:5])
    first, last, entries, within_s = rest[5:]
    link = Link(brokers.HOST, int(port), ca, certificate, identity)
    found = _run(link, key, fleet(int(last))[int(first) :], int(entries), float(within_s))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[2:])
