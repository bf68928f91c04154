"""The measurement of the log runs, on a small one, and its figures make sense."""

from __future__ import annotations

from pathlib import Path

from edge.bench.log import measure


def test_the_log_is_measured(tmp_path: Path) -> None:
    found = measure(entries=3000, folder=tmp_path, seconds=1.0)
    assert found["million"]["entries"] == 3000
    assert found["one_each"]["bytes_written_per_entry"] > 0
    assert found["sealing"]["signature_each_per_s"] > 0
    assert found["sealing"]["times"] >= 0  # how many times it is, on this machine, is the measurement's to say
    assert {target["name"] for target in found["targets"]} >= {"inclusion proof, us", "resident growth, MB"}
