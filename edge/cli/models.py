"""``edge models``: fetch the face models, say what they are worth, test them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.biometric.manifest import Manifest

_FOLDER = Path(__file__).resolve().parents[2] / "models"


def add(commands: Any) -> None:
    """Add ``models`` to the command line."""
    models = commands.add_parser("models", help="fetch, list and test the face models")
    todo = models.add_subparsers(dest="todo", required=True, metavar="pull|list|selftest")
    texts = {
        "pull": ("fetch what is missing", _pull),
        "list": ("say which models there are and what their scores are worth", _list),
        "selftest": ("let them tell known people apart", _selftest),
    }
    for name, (text, act) in texts.items():
        command = todo.add_parser(name, help=text)
        command.add_argument("--folder", type=Path, default=_FOLDER, help="where models.toml is (default: %(default)s)")
        command.add_argument("--set", default="best", help="best, or a set of models.toml (default: best)")
        command.set_defaults(act=act)


def _manifest(folder: Path) -> Manifest:
    from edge.biometric.manifest import parse
    from edge.settings import read_toml

    return parse(read_toml(folder / "models.toml"))


def _pull(args: argparse.Namespace) -> int:
    from edge.vision.archive import FetchError
    from edge.vision.fetch import pull

    try:
        manifest = _manifest(args.folder)
        if args.set not in (*manifest.sets, "best"):
            return _wrong(f"no set {args.set!r}: there are best, {', '.join(manifest.sets)}", 2)
        chosen = pull(manifest, args.folder, args.set, lambda text: print(f"models: {text}", flush=True))
    except (ValueError, FetchError, OSError) as error:
        return _wrong(str(error), 1)
    print(f"models: {chosen} set is in place: {manifest.sets[chosen].meaning}")
    print(f"models: {_worth(manifest, chosen, 0.001)}")
    return 0


def _list(args: argparse.Namespace) -> int:
    from edge.vision.sessions import complete

    try:
        manifest = _manifest(args.folder)
    except (ValueError, OSError) as error:
        return _wrong(str(error), 1)
    for name, known in manifest.sets.items():
        if args.set not in (name, "best"):
            continue
        print(f"{name} ({'in place' if complete(manifest, args.folder, name) else 'not fetched'}): {known.meaning}")
        for role, chosen in known.models.items():
            model = manifest.models[chosen]
            print(f"  {role:<12} {chosen:<22} {model.asset.licence:<11} sha256 {model.asset.sha256.hex()[:16]}…")
        for measured in manifest.models[known.models["embedder"]].thresholds:
            print(f"  {measured.kind.value} reference: {measured.data}")
            print(f"    {measured.genuine:,} genuine and {measured.impostor:,} impostor comparisons")
            for fmr, score, fnmr in zip(measured.fmr, measured.score, measured.fnmr, strict=True):
                print(f"    FMR {100 * fmr:g} %   score {score:.3f}   FNMR {100 * fnmr:.2g} %")
    return 0


def _selftest(args: argparse.Namespace) -> int:
    from edge.errors import DeviceError
    from edge.vision import selftest
    from edge.vision.sessions import ModelSessions

    begun = time.perf_counter()
    try:
        manifest = _manifest(args.folder)
        sessions = ModelSessions.open(manifest, args.folder, args.set, threads=1)
        outcomes = selftest.answers(sessions, manifest, args.folder)
    except (ValueError, OSError, DeviceError) as error:
        return _wrong(str(error), 1)
    for role, (name, digest) in sessions.models.models.items():
        print(f"ok   {role:<12} {name}  sha256 {digest.hex()[:16]}…")
    for each in outcomes:
        print(f"{'ok ' if each.right else 'BAD'}  {each.asked:<32} {each.score:6.3f} against {each.threshold:.3f}")
    right = all(each.right for each in outcomes)
    verdict = "passed" if right else "FAILED: these models may admit nobody"
    print(f"self-test of the {sessions.models.name} set {verdict} ({time.perf_counter() - begun:.1f} s)")
    return 0 if right else 1


def _worth(manifest: Manifest, set_name: str, fmr: float) -> str:
    """What the set means at one false match rate, for every kind of reference that was measured."""
    said = [
        f"{measured.kind.value} {100 * measured.fnmr[measured.fmr.index(fmr)]:.2g} %"
        for measured in manifest.models[manifest.sets[set_name].models["embedder"]].thresholds
        if fmr in measured.fmr
    ]
    return f"false non-matches at a false match rate of {100 * fmr:g} %, by reference: {', '.join(said)} (LFW)"


def _wrong(text: str, status: int) -> int:
    print(f"edge models: {text}", file=sys.stderr)
    return status
