"""A disk is measured as the gate uses it, and left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.devices.storage import Storage, selftest
from edge.errors import DeviceError


def test_a_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    found = selftest(tmp_path, entries=50)
    assert 0 < found.p50_ms <= found.p99_ms <= found.worst_ms
    assert found.entries_per_s > 0
    assert list(tmp_path.iterdir()) == []


def test_a_slow_card_is_refused_in_words() -> None:
    slow = Storage(80, 400, 900, 9)
    assert not slow.good
    assert "another card" in str(slow)
    assert "another card" not in str(Storage(1, 9, 20, 500))


def test_a_folder_that_is_not_there_is_a_device_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        selftest(tmp_path / "absent")
