"""The board as Prometheus text (exposition format 0.0.4). README.md lists the names; a name is added, never changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge.audit.entry import Kind
from edge.errors import Reason
from edge.web.board import Board
from edge.web.machine import Health
from edge.web.standing import BUCKETS_S, QUIET, Times, kind_name

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OUTCOMES = (Kind.GRANTED, Kind.DENIED)
_PASSAGES = (Kind.TAKEN, Kind.NOT_TAKEN)


def text(board: Board, streams: int, health: Health) -> str:
    """All metrics, one family after another."""
    return "\n".join([*_gate(board), *_log(board), *_visits(board), *_machine(health), *_process(streams)]) + "\n"


def _gate(board: Board) -> Iterator[str]:
    known = board.standing
    yield from _family("edge_serving", "gauge", "1 when the gate is heard and says that it works.")
    yield f"edge_serving {int(board.serving())}"
    yield from _family("edge_attack_detection_active", "gauge", "1 when attacks by photo or screen are detected.")
    yield f"edge_attack_detection_active {int(known.detects_attacks is True)}"
    yield from _family("edge_device_up", "gauge", "1 when a device answers.")
    for name, device in board.devices().items():
        yield f"edge_device_up{_labels(device=name)} {int(device.ok)}"
    if known.trust_at:
        yield from _family(
            "edge_trust_updated_timestamp_seconds", "gauge", "When the trust list was issued or last confirmed."
        )
        yield f"edge_trust_updated_timestamp_seconds {known.trust_at.timestamp():.3f}"
    if known.status_at:
        yield from _family(
            "edge_status_updated_timestamp_seconds", "gauge", "When the oldest list of withdrawn cards was issued."
        )
        yield f"edge_status_updated_timestamp_seconds {known.status_at.timestamp():.3f}"
    if (old := known.trust_old(board.now())) is not None:
        yield from _family("edge_trust_old", "gauge", "1 when the trust list is older than the profile likes.")
        yield f"edge_trust_old {int(old)}"
    if (closed := board.locked_down()) is not None:
        yield from _family("edge_locked_down", "gauge", "1 when an operator locked the gate down.")
        yield f"edge_locked_down {int(closed)}"
    if known.booted_at:
        yield from _family("edge_gate_start_timestamp_seconds", "gauge", "When edge-gate started.")
        yield f"edge_gate_start_timestamp_seconds {known.booted_at.timestamp():.3f}"


def _log(board: Board) -> Iterator[str]:
    yield from _family("edge_log_readable", "gauge", "1 when the log can be read.")
    yield f"edge_log_readable {int(not board.trouble)}"
    yield from _family("edge_log_entries", "gauge", "Entries in the log since edge-gate started.")
    yield f"edge_log_entries {board.open_size()}"
    if (sealed := board.open_sealed()) is not None:
        yield from _family("edge_log_sealed_entries", "gauge", "Those of them that a signed checkpoint covers.")
        yield f"edge_log_sealed_entries {sealed}"
    if board.standing.newest_at:
        yield from _family("edge_log_newest_timestamp_seconds", "gauge", "When the newest entry was written.")
        yield f"edge_log_newest_timestamp_seconds {board.standing.newest_at.timestamp():.3f}"


def _visits(board: Board) -> Iterator[str]:
    known = board.standing
    yield from _family("edge_visits_total", "counter", "Visits by outcome.")
    for kind in _OUTCOMES:
        yield f"edge_visits_total{_labels(outcome=kind_name(kind))} {known.kinds.get(kind, 0)}"
    yield from _family("edge_refusals_total", "counter", "Denied visits by reason.")
    for code in dict.fromkeys([reason.code for reason in Reason] + sorted(known.refusals)):
        yield f"edge_refusals_total{_labels(reason=code)} {known.refusals.get(code, 0)}"
    yield from _family("edge_passages_total", "counter", "Grants by whether the person went through.")
    for kind in _PASSAGES:
        yield f"edge_passages_total{_labels(outcome=kind_name(kind))} {known.kinds.get(kind, 0)}"
    yield from _family("edge_events_total", "counter", "Other entries by kind.")
    for other, count in sorted(known.kinds.items()):
        if other not in _OUTCOMES + _PASSAGES and other not in QUIET:
            yield f"edge_events_total{_labels(kind=kind_name(other))} {count}"
    yield from _family("edge_visit_seconds", "histogram", "From the readable code to the open gate.")
    yield from _histogram("edge_visit_seconds", {}, known.whole)
    yield from _family("edge_stage_seconds", "histogram", "One stage of a visit.")
    for name, times in sorted(known.stages.items()):
        yield from _histogram("edge_stage_seconds", {"stage": name}, times)


def _machine(health: Health) -> Iterator[str]:
    if health.celsius is not None:
        yield from _family("edge_temperature_celsius", "gauge", "Temperature of the machine.")
        yield f"edge_temperature_celsius {health.celsius:.1f}"
    if health.free_bytes is not None and health.size_bytes is not None:
        yield from _family("edge_storage_free_bytes", "gauge", "Room on the partition with the log.")
        yield f"edge_storage_free_bytes {health.free_bytes}"
        yield from _family("edge_storage_size_bytes", "gauge", "Size of the partition with the log.")
        yield f"edge_storage_size_bytes {health.size_bytes}"


def _process(streams: int) -> Iterator[str]:
    yield from _family("edge_web_streams", "gauge", "Pages that are kept up to date now.")
    yield f"edge_web_streams {streams}"
    yield from _family("edge_build_info", "gauge", "The release that is running.")
    yield f"edge_build_info{_labels(version=release())} 1"
    yield from _family("process_resident_memory_bytes", "gauge", "Resident memory of edge-web.")
    yield f"process_resident_memory_bytes {_resident_bytes()}"


def release() -> str:
    """The version of the installed package."""
    try:
        return version("edge-gate")
    except PackageNotFoundError:
        return "unknown"


def _family(name: str, kind: str, words: str) -> tuple[str, str]:
    return f"# HELP {name} {words}", f"# TYPE {name} {kind}"


def _histogram(name: str, labels: dict[str, str], times: Times) -> Iterator[str]:
    for upper, count in zip(BUCKETS_S, times.up_to, strict=True):
        yield f"{name}_bucket{_labels(**labels, le=str(upper))} {count}"
    yield f"{name}_bucket{_labels(**labels, le='+Inf')} {times.count}"
    yield f"{name}_sum{_labels(**labels)} {times.total_us / 1_000_000:.6f}"
    yield f"{name}_count{_labels(**labels)} {times.count}"


def _labels(**labels: str) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _resident_bytes() -> int:
    """From Linux's own account; 0 elsewhere."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
