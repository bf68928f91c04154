"""``edge face``: how well faces are told apart, on your own pictures; and one comparison, explained."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import kit

if TYPE_CHECKING:
    from edge.biometric.accuracy import Point, Rate, Scores
    from edge.vision.evaluation import Seen
    from edge.vision.lineup import Card

_FOLDER = Path(__file__).resolve().parents[2] / "models"
_RATES = (0.01, 0.001, 0.0005, 0.0001, 0.00001)


def add(commands: Any) -> None:
    """Add ``face`` to the command line."""
    face = commands.add_parser("face", help="evaluate the face models on pictures of yours; compare two; try attacks")
    todo = face.add_subparsers(dest="todo", required=True, metavar="evaluate|compare|quality|attack-kit|calibrate")
    evaluate = todo.add_parser("evaluate", help="error rates and thresholds on a folder with one folder a person")
    evaluate.add_argument("pictures", type=Path, metavar="DIR")
    evaluate.add_argument("--pairs", type=Path, help="compare these pairs only (LFW's format, or lines A,B,0|1)")
    evaluate.add_argument("--groups", type=Path, help="lines PERSON,GROUP: false matches within each group")
    evaluate.add_argument(
        "--reference", type=_card, default="full", help="full, PIXELS:BYTES such as 64:800, or template:1|4|8"
    )
    evaluate.add_argument("--middle", action="store_true", help="of several faces take the one nearest to the middle")
    evaluate.add_argument("--plot", type=Path, metavar="PNG", help="draw score histogram and DET curve")
    evaluate.add_argument("--workers", type=int, default=0, help="processes (default: one a core)")
    evaluate.set_defaults(act=_evaluate)
    compare = todo.add_parser("compare", help="compare the face in one picture (reference) with another's (probe)")
    compare.add_argument("reference", type=Path)
    compare.add_argument("probe", type=Path)
    compare.add_argument("--fmr", type=float, default=0.001, help="false match rate (default: 0.001)")
    compare.set_defaults(act=_compare)
    quality = todo.add_parser("quality", help="how good the face in each picture is, component by component")
    quality.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    quality.set_defaults(act=_quality)
    kit.add(todo)
    for command in (evaluate, compare, quality):
        command.add_argument("--folder", type=Path, default=_FOLDER, help="where models.toml is (default: %(default)s)")
        command.add_argument("--set", default="best", help="best, or a set of models.toml (default: best)")


def _card(text: str) -> Card:
    from edge.vision.lineup import Card

    try:
        return Card.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _compare(args: argparse.Namespace) -> int:
    from edge.biometric.manifest import parse
    from edge.biometric.score import cosine
    from edge.errors import DeviceError, Refusal
    from edge.settings import read_toml
    from edge.vision.reference import template
    from edge.vision.sessions import ModelSessions

    try:
        manifest = parse(read_toml(args.folder / "models.toml"))
        sessions = ModelSessions.open(manifest, args.folder, args.set, threads=1)
        reference, kind = template(_picture(args.reference), sessions)
        probe, _ = template(_picture(args.probe), sessions)
        score = cosine(reference, probe)
        threshold = manifest.threshold(sessions.embedder.name, kind, args.fmr)
    except Refusal as refusal:
        return _wrong(f"{refusal.reason.operator} ({refusal.detail})")
    except (ValueError, OSError, DeviceError) as error:
        return _wrong(str(error))
    same = score >= threshold
    print(f"score {score:.3f}, threshold {threshold:.3f} at FMR {100 * args.fmr:g} %", end=" ")
    print(f"({sessions.embedder.name}, {kind.value} reference): {'match' if same else 'no match'}")
    return 0 if same else 1


def _quality(args: argparse.Namespace) -> int:
    import cv2
    import numpy as np

    from edge.biometric.manifest import parse
    from edge.errors import DeviceError, Refusal
    from edge.settings import read_toml
    from edge.vision.components import components
    from edge.vision.quality import nearest
    from edge.vision.sessions import ModelSessions

    try:
        manifest = parse(read_toml(args.folder / "models.toml"))
        sessions = ModelSessions.open(manifest, args.folder, args.set, threads=1)
        for path in args.pictures:
            image = np.asarray(_picture(path), np.uint8)
            faces = nearest(found) if (found := sessions.detector.detect(image)) else []
            if len(faces) != 1:
                return _wrong(f"{path}: {len(faces)} faces, one is needed")
            luma = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
            told = components(image, luma, faces[0], sessions.motion)
            print(f"{path}: {'  '.join(f'{name} {value}' for name, value in told.items())}")
    except Refusal as refusal:
        return _wrong(f"{refusal.reason.operator} ({refusal.detail})")
    except (ValueError, OSError, DeviceError) as error:
        return _wrong(str(error))
    print("our own measures, 0 to 100, after the names of ISO/IEC 29794-5; not OFIQ's")
    return 0


def _picture(path: Path) -> Any:
    import cv2

    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f"{path} is no picture")
    return image


def _evaluate(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import track

    from edge.biometric.accuracy import as_toml, at_fmr
    from edge.biometric.manifest import parse
    from edge.errors import DeviceError
    from edge.settings import read_toml
    from edge.vision import evaluation, lineup
    from edge.vision.sessions import present

    console = Console()
    card: Card = args.reference
    alike = card == lineup.Card()
    try:
        manifest = parse(read_toml(args.folder / "models.toml"))
        set_name = present(manifest, args.folder, args.set)
        pictures = lineup.pictures_of(args.pictures)
        pairs = lineup.read_pairs(args.pairs, args.pictures) if args.pairs else []
        groups = lineup.read_groups(args.groups) if args.groups else {}
        job = evaluation.Job(manifest, args.folder, set_name, card, args.middle)
        ticks = iter(track(range(len(pictures)), "reading faces", console=console, transient=True))
        seen = evaluation.read_all(job, pictures, lambda: next(ticks, None), args.workers)
    except (ValueError, OSError, DeviceError) as error:
        return _wrong(str(error))
    usable = sum(one.probe is not None for one in seen)
    if usable < 2:
        return _wrong("fewer than two usable faces")
    failed = 0
    if pairs:
        scores, failed = evaluation.pair_scores(seen, pairs)
    else:
        scores = evaluation.cross_scores(seen, alike)
    embedder = manifest.sets[set_name].models["embedder"]
    print(f"{set_name} set, {embedder}, reference {card}")
    _acquired(seen, failed)
    points = [at_fmr(scores, rate) for rate in _RATES]
    _table(points, scores)
    if groups:
        _groups(list(evaluation.by_group(seen, groups, alike)), points)
    print(as_toml(embedder, card.kind, points, f"{args.pictures.name}, reference {card}"))
    if args.plot is not None:
        return _plot(args.plot, scores, points, f"{embedder}, reference {card}, {args.pictures.name}")
    return 0


def _acquired(seen: Sequence[Seen], failed: int) -> None:
    from edge.biometric.accuracy import Rate

    missing = Rate(sum(one.probe is None for one in seen), len(seen))
    people = len({one.person for one in seen})
    print(f"{len(seen)} pictures of {people} people; failure to acquire {missing.wrong}", end=" ")
    print(
        f"({100 * missing.rate:.2f} %, 95 %: {_between(missing)}){f'; {failed} pairs not compared' if failed else ''}"
    )


def _table(points: Sequence[Point], scores: Scores) -> None:
    from edge.biometric.accuracy import equal_error

    print(f"{'FMR':>8}  {'score':>7}  {'FMR found, 95 %':>22}  {'FNMR, 95 %':>28}")
    for point in points:
        needed = f"  not supported: takes {round(30 / point.asked):,} impostor comparisons"
        print(
            f"{100 * point.asked:>6g} %  {point.threshold:7.4f}  {_between(point.fmr):>22}  "
            f"{100 * point.fnmr.rate:7.2f} % ({_between(point.fnmr)}){'' if point.supported else needed}"
        )
    same = equal_error(scores)
    print(f"{same.fnmr.of:,} genuine and {same.fmr.of:,} impostor comparisons; equal error rate", end=" ")
    print(f"{50 * (same.fmr.rate + same.fnmr.rate):.2f} % at {same.threshold:.3f}")


def _groups(groups: Sequence[tuple[str, Scores]], points: Sequence[Point]) -> None:
    """Like against like, at the thresholds of everybody."""
    from edge.biometric.accuracy import at_threshold

    for point in points:
        if not point.supported:
            continue
        print(f"within each group, at the score for FMR {100 * point.asked:g} % ({point.threshold:.4f}):")
        for group, scores in groups:
            here = at_threshold(scores, point.threshold)
            print(
                f"  {group:<20} FMR {100 * here.fmr.rate:.3g} % ({_between(here.fmr)} of {here.fmr.of:,})  "
                f"FNMR {100 * here.fnmr.rate:.3g} % ({_between(here.fnmr)} of {here.fnmr.of:,})"
            )


def _between(rate: Rate) -> str:
    low, high = rate.interval
    return f"{100 * low:.2g} to {100 * high:.2g} %"


def _plot(path: Path, scores: Scores, points: Sequence[Point], title: str) -> int:
    import cv2

    from edge.vision.plot import drawn

    if not cv2.imwrite(str(path), drawn(scores, points, title)):
        return _wrong(f"{path} cannot be written")
    print(f"plot: {path}")
    return 0


def _wrong(text: str) -> int:
    print(f"edge face: {text}", file=sys.stderr)
    return 1
