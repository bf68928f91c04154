"""The measurements measure: small ones run with the tests."""

from __future__ import annotations

from edge.bench.sync import measure_drain, measure_fleet


def test_a_small_backlog_drains_in_measured_time() -> None:
    found = measure_drain(entries=3000, single=2)
    assert found["drain_per_s"] > 0
    assert found["collector_entries"] == 3002


def test_a_small_fleet_loses_nothing() -> None:
    found = measure_fleet(gates=5, entries=2, within_s=0.5)
    assert found["fleet_lost"] == 0
