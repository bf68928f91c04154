"""The measurements measure: small ones run with the tests."""

from __future__ import annotations

from edge.bench.fleet import measure_fleet
from edge.bench.store import measure_stores
from edge.bench.sync import measure_drain


def test_a_small_backlog_drains_in_measured_time() -> None:
    found = measure_drain(entries=3000, single=2)
    assert found["drain_per_s"] > 0
    assert found["collector_entries"] == 3002


def test_fifty_gates_with_two_collectors_lose_nothing() -> None:
    found = measure_fleet(gates=50, entries=4, within_s=2.0)
    assert found["fleet_lost"] == 0
    assert 0 < found["fleet_p50_ms"] <= found["fleet_p95_ms"]


def test_each_store_is_measured() -> None:
    found = measure_stores(1000)
    assert all(rate > 0 for rate in found.values())
