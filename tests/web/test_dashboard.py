"""The dashboard draws metrics that the pages serve, and leaves none of the important ones out."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BOARD: dict[str, Any] = json.loads((ROOT / "config" / "grafana.json").read_text(encoding="utf-8"))
README = (ROOT / "edge" / "web" / "README.md").read_text(encoding="utf-8")
TABLE = dict(re.findall(r"^\| `((?:edge|process)_\w+)`[^|]*\| (\w+) \|", README, re.MULTILINE))
EXPRESSIONS = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
UNDRAWN = {  # they belong to alerts and inventories, not on a wall
    "edge_log_readable",
    "edge_trust_old",
    "edge_log_newest_timestamp_seconds",
    "edge_gate_start_timestamp_seconds",
    "edge_web_streams",
    "edge_build_info",
    "process_resident_memory_bytes",
}


def named(expression: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bedge_\w+", expression)}


def test_the_table_of_metrics_is_read() -> None:
    assert len(TABLE) > 20
    assert set(TABLE.values()) == {"gauge", "counter", "histogram"}


def test_every_name_is_one_that_is_served() -> None:
    for expression in EXPRESSIONS:
        assert named(expression)
        assert named(expression) <= set(TABLE), expression


def test_every_metric_is_drawn_or_left_out_on_purpose() -> None:
    drawn = set().union(*map(named, EXPRESSIONS))
    assert drawn | UNDRAWN == set(TABLE)
    assert not drawn & UNDRAWN


def test_counters_are_drawn_as_rates_and_histograms_by_their_parts() -> None:
    for expression in EXPRESSIONS:
        for name in named(expression):
            if TABLE[name] == "counter":
                assert re.search(rf"(rate|increase)\({name}\b", expression), expression
            if TABLE[name] == "histogram":
                assert re.search(rf"{name}_(bucket|sum|count)", expression), expression


def test_labels_are_those_of_the_table() -> None:
    labels = {name: set(re.findall(rf"`{name}` `{{(\w+)}}`", README)) for name in TABLE}
    for expression in EXPRESSIONS:
        known = {"instance", "le"}.union(*(labels[name] for name in named(expression)))
        for group in re.findall(r"by \(([^)]*)\)", expression):
            assert {one.strip() for one in group.split(",")} <= known, expression


def test_parentheses_are_closed_and_selectors_name_the_gate() -> None:
    for expression in EXPRESSIONS:
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing)
        assert expression.count('instance=~"$gate"') == len(re.findall(r"\bedge_\w+", expression))


def test_panels_have_a_place_of_their_own_and_say_what_they_show() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in BOARD["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
    for one, other in itertools.combinations((panel["gridPos"] for panel in BOARD["panels"]), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert one["x"] + one["w"] <= 24


def test_it_fits_any_data_source_and_loads_nothing_from_elsewhere() -> None:
    text = json.dumps(BOARD)
    assert "http" not in text
    assert {panel["datasource"]["uid"] for panel in BOARD["panels"]} == {"${source}"}
