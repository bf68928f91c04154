"""The demo as people see it: each visit as it happens, the summary, and what an independent eye says of the log."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.demo import sheet, shots
from edge.demo.director import Director, Outcome
from edge.demo.planned import Card, Lane, Visit
from edge.demo.screen import ScreenReader
from edge.demo.stage import ROOT, Stage, Wanted, models_of
from edge.demo.visits import ENROLLED, VISITS
from edge.devices.checkpoints import CheckpointReader
from edge.errors import DeviceError
from edge.settings import read_toml
from edge.vision.leaks import leaks

_SETTLE_S = 45.0
_SHOWN = ("read", "verify", "detect", "attack", "embed", "prepare", "reference", "compare", "decide", "commit", "relay")
NO_DETECTOR = "No attack detector is in this model set: attacks by photo or screen are NOT detected."


@dataclass
class Run:
    """All that a run found.

    Attributes:
        profile: of the site.
        models: name of the model set that was at work.
        attacks_detected: whether it has a presentation attack detector.
        planned: the visits that this set can be asked to get right.
        outcomes: one per visit.
        ready_s: seconds from start to readiness, per process.
        entries, sealed, received: in the log, under a checkpoint, at the collector.
        verified: whether the independent verification is content.
        verification: what it said.
        searched: files that the processes have written, searched for personal data.
        leaks: what was found there.
    """

    profile: str
    models: str
    attacks_detected: bool
    planned: tuple[Visit, ...] = ()
    outcomes: list[Outcome] = field(default_factory=list)
    ready_s: dict[str, float] = field(default_factory=dict)
    entries: int = 0
    sealed: int = 0
    received: int = 0
    verified: bool = False
    verification: str = ""
    searched: int = 0
    leaks: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everything was as it must be."""
        return (
            len(self.outcomes) == len(self.planned) > 0
            and all(outcome.as_expected for outcome in self.outcomes)
            and self.verified
            and self.entries == self.sealed == self.received
            and not self.leaks
        )


def run(
    wanted: Wanted, console: Console, *, visits: tuple[Visit, ...] = VISITS, record: Path | None, serve: bool
) -> Run:
    """Play the demo.

    Raises:
        DeviceError: something that the demo needs is not installed or does not start.
        NotReady: a process of the gate does not get ready.
    """
    found = Run(wanted.profile, *models_of(wanted))
    profile = read_toml(ROOT / "config" / "profiles" / f"{wanted.profile}.toml")
    lane = Lane.of(wanted.profile, profile, detector=found.attacks_detected, light=wanted.light)
    found.planned = lane.chosen(visits)
    if not found.planned:
        raise DeviceError(
            "demo", f"none of these visits can be got right with profile {wanted.profile} and {found.models}"
        )
    wanted = replace(wanted, enrolled=_enrolled(found.planned) if lane.cards else ENROLLED)
    logging.getLogger("edge").addHandler(logging.NullHandler())  # the collector's words are not for this screen
    with _told_to_stop(), Stage(wanted) as stage:
        web = stage.settings.web
        with ScreenReader(web.host, web.port) as screen:
            director = Director(stage, screen if lane.tasks else None)
            director.open()
            _begin(stage, found, console)
            _play(director, stage, found, console)
        if record is not None:
            _picture(record, stage, console)  # of a gate at work
        _check_log(stage, found, console, stop_gate=not serve)
        _check_privacy(stage, found, console)
        _summary(found, console)
        if record is not None:
            _record(record, stage, found, console)
        if serve:
            _serve(stage, console)
    return found


def _enrolled(planned: tuple[Visit, ...]) -> tuple[str, ...]:
    """Who must be known to the gallery for these visits."""
    return ENROLLED[:1] if any(isinstance(visit.shows, Card) and not visit.shows.photo for visit in planned) else ()


def _play(director: Director, stage: Stage, found: Run, console: Console) -> None:
    """Play the visits; when the gate does not answer, say what its processes say, and give up after the second time."""
    silent = 0
    for number, outcome in enumerate(director.visits(found.planned), 1):
        found.outcomes.append(outcome)
        _tell(number, outcome, console)
        if outcome.decision is None:
            for name in ("gate", "vision"):
                console.print(f"[dim]{escape(stage.processes.last_words(name, 4))}[/]", highlight=False)
        silent = silent + 1 if outcome.decision is None else 0
        if silent == 2:
            console.print("[bold red]The gate does not answer; the rest is left out.[/]")
            break


def _check_privacy(stage: Stage, found: Run, console: Console) -> None:
    """Search all that the five processes have written, logs included, for pictures, templates and code texts."""
    places = [place for place in stage.folder.iterdir() if place != stage.scene]
    known = {f"face in card {number}": shown for number, shown in enumerate(stage.issuers.faces)}
    found.searched = sum(each.is_file() for place in places for each in (place, *place.rglob("*")))
    found.leaks = [f"{leak.path.name}, byte {leak.offset}: {leak.kind}" for leak in leaks(places, known)]
    for leak in found.leaks:
        console.print(f"[bold red]Personal data on disk:[/] {escape(leak)}")
    if not found.leaks:
        console.print(f"{found.searched} files searched: no picture, no template, no code text.", highlight=False)


def as_json(found: Run) -> str:
    """The run, for programs."""
    return json.dumps(
        {
            "good": found.good,
            "profile": found.profile,
            "models": found.models,
            "attacks_detected": found.attacks_detected,
            "ready_s": {name: round(seconds, 3) for name, seconds in found.ready_s.items()},
            "visits": [_visit_json(outcome) for outcome in found.outcomes],
            "leaks": found.leaks,
            "files_searched": found.searched,
            "log": {
                "entries": found.entries,
                "sealed": found.sealed,
                "received": found.received,
                "verified": found.verified,
                "verification": found.verification,
            },
        },
        indent=2,
    )


def _visit_json(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.visit.name,
        "story": outcome.visit.story,
        "expected": outcome.visit.expected,
        "actual": outcome.actual,
        "as_expected": outcome.as_expected,
        "facts": outcome.facts(),
        "stages_us": outcome.stages(),
        "took_s": round(outcome.took_s, 2),
        "notes": list(outcome.notes),
    }


def _begin(stage: Stage, found: Run, console: Console) -> None:
    with console.status("starting broker, token and the five processes"):
        stage.start()
    found.ready_s = {name: part.ready_s or 0.0 for name, part in stage.processes.parts.items()}
    slowest = max(found.ready_s.values())
    console.print(
        f"[bold]The gate is ready[/] {slowest:.1f} s after its start: edge-vision, -gate, -seal, -sync, -web."
    )
    where = "RAM" if stage.in_ram else "a private directory on disk, because there is no room in RAM"
    console.print(f"Footage is composed now, kept in {where}, and deleted after each visit.")
    console.print(f"Models: set {found.models}. Profile: {found.profile}.", highlight=False)
    if not found.attacks_detected:
        left_out = ", ".join(
            visit.name for visit in VISITS if visit.needs_detector and not visit.needs_tasks and not visit.fed_in
        )
        console.print(f"[bold yellow]{NO_DETECTOR}[/] Only the pilot profile may run like this. Left out: {left_out}.")
    console.print(f"Operator's page: {stage.pages}\n", highlight=False)


def _tell(number: int, outcome: Outcome, console: Console) -> None:
    """One visit, for people."""
    visit = outcome.visit
    mark = "[green]as expected[/]" if outcome.as_expected else "[bold red]NOT as expected[/]"
    console.print(f"[bold]{number:2}. {visit.name}[/]  {escape(visit.story)}", highlight=False)
    if outcome.decision is not None:
        sentence = outcome.refused.person if outcome.refused else "Welcome. Please go through."
        console.print(f"    The gate: [italic]{sentence}[/]", highlight=False)
    notes = "".join(f"; {note}" for note in outcome.notes)
    console.print(f"    {escape(outcome.actual)}{notes}  {mark}", highlight=False)
    stages = outcome.stages()
    if timed := "  ".join(f"{name} {stages[name] / 1000:.1f}" for name in _SHOWN if name in stages):
        console.print(f"    [dim]ms: {timed}[/]", highlight=False)


def _check_log(stage: Stage, found: Run, console: Console, *, stop_gate: bool) -> None:
    """Wait until all is sealed and received, then have the log verified by a program that shares nothing with us."""
    if stop_gate:
        stage.processes.stop_one("gate")
    checkpoints = CheckpointReader(stage.settings.paths.checkpoints)
    with console.status("waiting for the last entries to be sealed and received"):
        end = time.monotonic() + _SETTLE_S
        while True:
            found.entries, found.received = stage.log.size(), stage.received()
            last = checkpoints.last()
            found.sealed = last.head.size if last is not None else 0
            if found.entries == found.sealed == found.received or time.monotonic() > end:
                break
            time.sleep(0.1)
    checkpoints.close()
    found.verified, found.verification = verify_log(stage)


def verify_log(stage: Stage) -> tuple[bool, str]:
    """What ``scripts/verify_log.py`` says of the log: content or not, and its words."""
    paths = stage.settings.paths
    command = [sys.executable, "-I", str(ROOT / "scripts" / "verify_log.py"), "--journal", str(paths.journal)]
    command += ["--checkpoints", str(paths.checkpoints), "--key", str(stage.settings.token.public_key)]
    command += ["--origin", stage.settings.site.origin]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def _summary(found: Run, console: Console) -> None:
    table = Table(title="Visits", title_justify="left", box=box.SIMPLE_HEAD)
    for column, least in (("", 2), ("visit", 12), ("expected", 12), ("actual", 12), ("decided", 7), ("relay", 6)):
        right = column in ("", "decided", "relay")
        table.add_column(column, justify="right" if right else "left", no_wrap=True, min_width=least)
    for number, outcome in enumerate(found.outcomes, 1):
        colour = "green" if outcome.as_expected else "bold red"
        whole = outcome.stages().get("whole")
        table.add_row(
            str(number),
            outcome.visit.name,
            outcome.visit.expected,
            f"[{colour}]{escape(outcome.actual)}[/]",
            f"{outcome.took_s:.2f} s" if outcome.decision else "",
            f"{whole / 1e6:.2f} s" if whole else "",
        )
    console.print()
    console.print(table)
    console.print(
        "decided: from the card in view to the decision; relay: from the readable code to the relay. Both contain"
    )
    console.print(
        "what the person does meanwhile: bringing first the card, then the face into view, and holding still."
    )
    if not found.attacks_detected:
        console.print(f"[bold yellow]{NO_DETECTOR}[/]")
    console.print()
    console.print(escape(found.verification), style="green" if found.verified else "red", highlight=False)
    if not found.verified:
        console.print("[bold red]log NOT verified[/]")
    same = found.entries == found.sealed == found.received
    colour = "green" if same else "bold red"
    told = f"{found.entries} entries in the log, {found.sealed} sealed by the token, {found.received} at the collector"
    console.print(f"[{colour}]{told}[/]", highlight=False)
    wrong = sum(not outcome.as_expected for outcome in found.outcomes)
    count = len(found.outcomes)
    console.print(f"[bold]{count - wrong} of {count} visits as expected.[/]\n", highlight=False)


def _record(folder: Path, stage: Stage, found: Run, console: Console) -> None:
    """Keep what the person who runs the demo asked to keep; the log with it, and what is needed to check it."""
    folder.mkdir(parents=True, exist_ok=True)
    profile = stage.folder / "profiles" / f"{found.profile}.toml"
    for file, name in ((profile, "profile.toml"), (stage.settings.token.public_key, "token.pem")):
        shutil.copyfile(file, folder / name)
    exporting = [sys.executable, "-m", "edge", "audit", "export", str(folder / "log.cborseq")]
    exporting += ["--config", str(stage.folder / "edge.toml")]
    subprocess.run(exporting, env=stage.environment, capture_output=True, check=True, timeout=120)
    (folder / "run.json").write_text(as_json(found) + "\n", encoding="utf-8")
    written = sheet.write(folder, found.outcomes)
    console.print(f"Recorded: {written} and {folder / 'run.json'}", highlight=False)


def _picture(folder: Path, stage: Stage, console: Console) -> None:
    """Keep pictures of the pages, where there is a browser."""
    if not shots.possible():
        console.print(
            "No pictures of the pages: they take chromium and playwright (scripts/setup dev).", highlight=False
        )
        return
    written = shots.write(folder / "pages", stage.settings, stage.pages)
    console.print(f"Recorded: {len(written)} pictures of the pages in {folder / 'pages'}", highlight=False)


def _serve(stage: Stage, console: Console) -> None:
    """Stay, for whoever looks at the pages."""
    console.print(f"The gate goes on; its pages are at {stage.pages} and {stage.pages}kiosk. Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(1.0)


@contextlib.contextmanager
def _told_to_stop() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does, with everything cleared up."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {sign: signal.signal(sign, stop) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
