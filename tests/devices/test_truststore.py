"""What was verified is given up only where it is damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.devices.truststore import TrustReader, TrustStore
from edge.errors import DeviceError
from edge.trust.stored import Stored

KEPT = Stored(7, b"anchor", {"root": b"root"}, {"list": b"L" * 100_000}, 1)
_NO_ROOM = """
import resource, sys
from pathlib import Path
from edge.devices.truststore import TrustStore
from edge.errors import DeviceError

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    TrustStore(Path(sys.argv[1]))
except DeviceError as error:
    print(error)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What an edge-sync that ended in order leaves."""
    store = TrustStore(tmp_path / "trust.db")
    store.commit(KEPT)
    store.close()
    return tmp_path / "trust.db"


def test_trust_outlives_a_disk_without_room(file: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _NO_ROOM, str(file)], capture_output=True, text=True, check=True, timeout=120
    )
    assert "cannot be kept or read" in said.stdout
    assert [path.name for path in file.parent.iterdir() if path.name.endswith("damaged")] == []
    assert TrustReader(file).newer_than(0) == KEPT
    store = TrustStore(file)
    assert store.load() == KEPT
    store.close()


def test_what_cannot_be_opened_stays_where_it_is(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.mkdir()
    with pytest.raises(DeviceError, match="cannot be kept or read"):
        TrustStore(file)
    assert file.is_dir()


def test_a_damaged_store_is_put_aside(file: Path) -> None:
    for byte in (b"d", b"e"):  # one that was put aside before makes room
        file.write_bytes(byte * 9000)
        fresh = TrustStore(file)
        assert fresh.load() == Stored()
        fresh.close()
        assert file.with_name("trust.damaged").read_bytes() == byte * 9000
