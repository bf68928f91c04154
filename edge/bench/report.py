"""Figures as tables, beside what was promised."""

from __future__ import annotations

import os
import platform
from typing import Any

from rich.console import Console
from rich.table import Table

from edge.bench.walk import STAGES


def walk(found: dict[str, Any], console: Console) -> None:
    """Stages, then targets."""
    stages = Table(
        title=f"Milliseconds per stage, as the gate logged them; model set {found['models']}", title_justify="left"
    )
    for column in ("stage", "p50", "p95", "passages"):
        stages.add_column(column, justify="left" if column == "stage" else "right")
    for name, title in STAGES.items():
        figures = found["stages_ms"].get(name, {})
        if figures.get("n"):
            stages.add_row(title, f"{figures['p50']:.2f}", f"{figures['p95']:.2f}", str(figures["n"]))
    console.print(stages)
    targets = Table(title="Targets", title_justify="left")
    for column in ("", "at most", "found", ""):
        targets.add_column(column, justify="right" if column else "left")
    for target in found["targets"]:
        mark = "[green]met[/]" if target["met"] else "[bold red]missed[/]"
        targets.add_row(
            target["name"], f"{target['most']:g} {target['unit']}", f"{target['found']} {target['unit']}", mark
        )
    console.print(targets)
    memory = found["memory_mb"]
    console.print(
        f"Memory is the sum of PSS: a page shared by several processes counts once. RSS sums to {memory['rss']} MB.",
        highlight=False,
    )


def machine() -> dict[str, object]:
    """What it was measured on."""
    return {"processors": os.cpu_count(), "architecture": platform.machine(), "python": platform.python_version()}
