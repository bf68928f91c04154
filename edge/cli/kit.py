"""``edge face attack-kit`` and ``edge face calibrate``: what a camera's attack detection is worth, tried on site."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.biometric.presentation import Attempt, Finding
    from edge.vision.sessions import ModelSessions

_FOLDER = Path(__file__).resolve().parents[2] / "models"
_AAD = b"edge-gate attack-kit v1"
_TYPE = "application/vnd.edge-gate.attack-kit+json"


def add(todo: Any) -> None:
    """Add both to ``edge face``."""
    kit = todo.add_parser("attack-kit", help="a sheet to print, a guided run, a signed result").add_subparsers(
        dest="part", required=True, metavar="sheet|run|verify"
    )
    sheet = kit.add_parser("sheet", help="write the printable sheet as PNG, SVG and PDF")
    sheet.add_argument("out", type=Path, metavar="FOLDER")
    sheet.add_argument("--face", type=Path, help="picture of the face to print (default: a public portrait)")
    sheet.set_defaults(act=_sheet)
    run = kit.add_parser("run", help="present attacks and people; APCER and BPCER per species, signed")
    run.add_argument("--out", type=Path, required=True, help="the signed result")
    run.add_argument(
        "--key", type=Path, required=True, metavar="PEM", help="private key of whoever answers for the run"
    )
    run.add_argument("--threshold", type=float, default=0.5, help="attack_threshold of the profile (default: 0.5)")
    run.set_defaults(act=_run)
    verify = kit.add_parser("verify", help="show a signed result, if it is signed by this key")
    verify.add_argument("result", type=Path)
    verify.add_argument("--key", type=Path, required=True, metavar="PEM", help="public key")
    verify.set_defaults(act=_verify)
    calibrate = todo.add_parser("calibrate", help="this camera's attack_threshold, from people and attacks before it")
    calibrate.add_argument("--apcer", type=float, default=0.02, help="attacks of one species that may pass")
    what = calibrate.add_mutually_exclusive_group()
    what.add_argument(
        "--write", action="store_true", help="put it beside the configuration: in force at the next start"
    )
    what.add_argument("--undo", action="store_true", help="take back what was written; the one before holds again")
    calibrate.set_defaults(act=_calibrate)
    for command, config in ((run, Path("config/edge.toml")), (calibrate, Path("/etc/edge-gate/edge.toml"))):
        command.add_argument("--recorded", type=Path, metavar="DIR", help="one folder a species instead of the camera")
        command.add_argument("--config", type=Path, default=config, help="names the camera (default: %(default)s)")
        command.add_argument("--species", nargs="+", metavar="NAME", help="only these")
        command.add_argument("--trials", type=int, default=10, help="presentations of each (default: 10)")
        command.add_argument("--seconds", type=float, default=5.0, help="for each presentation (default: 5)")
    for command in (sheet, run, calibrate):
        command.add_argument("--folder", type=Path, default=_FOLDER, help="where models.toml is (default: %(default)s)")
        command.add_argument("--set", default="best", help="best, or a set of models.toml (default: best)")


def _sessions(args: argparse.Namespace) -> ModelSessions:
    from edge.biometric.manifest import parse
    from edge.settings import read_toml
    from edge.vision.sessions import ModelSessions

    return ModelSessions.open(parse(read_toml(args.folder / "models.toml")), args.folder, args.set, threads=1)


def _sheet(args: argparse.Namespace) -> int:
    import cv2
    import numpy as np

    from edge.errors import DeviceError
    from edge.vision import sheet

    try:
        path = args.face or args.folder / "portraits" / "obama.jpg"
        image = cv2.imread(str(path))
        if image is None:
            return _wrong(f"{path} is no picture")
        portrait = np.asarray(image, np.uint8)
        faces = _sessions(args).detector.detect(portrait)
        if len(faces) != 1:
            return _wrong(f"{len(faces)} faces in {path}, one is needed")
        for written in sheet.write(args.out, sheet.drawn(portrait, faces[0].landmarks)):
            print(written)
    except (ValueError, OSError, DeviceError) as error:
        return _wrong(str(error))
    return 0


def _attempts(args: argparse.Namespace, sessions: ModelSessions) -> Iterator[Attempt]:
    """Every presentation, one after another."""
    from edge.biometric.values import ProbeQuality
    from edge.vision import kit

    if args.recorded is None:
        yield from _guided(args, sessions)
        return
    for species, path in kit.recordings(args.recorded):
        if args.species is None or species in args.species:
            yield kit.attempt(sessions, ProbeQuality(), species, kit.frames_of(path))


def _guided(args: argparse.Namespace, sessions: ModelSessions) -> Iterator[Attempt]:
    """Say what to present, wait for Enter, look, say what was found; ``s`` leaves a species out."""
    from edge.biometric.presentation import SPECIES
    from edge.biometric.values import ProbeQuality
    from edge.settings import load
    from edge.vision import kit
    from edge.vision.camera import camera

    opened = camera(load(args.config).camera)
    for species in args.species or SPECIES:
        print(f"\n{species}: {SPECIES.get(species, 'as you defined it')}")
        for trial in range(1, args.trials + 1):
            if input(f"  {trial} of {args.trials}: ready? Enter, or s to leave this kind out: ").strip() == "s":
                break
            device = opened()
            try:
                found = kit.attempt(sessions, ProbeQuality(), species, kit.live(device, args.seconds))
            finally:
                device.close()
            print("  no answer: " + found.reason if found.score is None else f"  score {found.score:.2f}")
            yield found


def _run(args: argparse.Namespace) -> int:
    from edge.biometric import presentation
    from edge.errors import DeviceError

    try:
        sessions = _sessions(args)
        attempts = list(_attempts(args, sessions))
        found = presentation.findings(attempts, args.threshold)
        args.out.write_bytes(_signed(_result(args, sessions, attempts, found), args.key))
    except (ValueError, OSError, DeviceError) as error:
        return _wrong(str(error))
    _table(found, args.threshold)
    print(f"signed result: {args.out}")
    return 0


def _result(
    args: argparse.Namespace, sessions: ModelSessions, attempts: Sequence[Attempt], found: Sequence[Finding]
) -> dict[str, Any]:
    from datetime import UTC, datetime

    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "models": {role: f"{name}:{digest.hex()}" for role, (name, digest) in sessions.models.models.items()},
        "threshold": args.threshold,
        "presented": "recorded" if args.recorded else "live",
        "species": {
            each.species: {
                "answered": each.errors.of,
                "errors": each.errors.wrong,
                "rate": None if not each.errors.of else round(each.errors.rate, 5),
                "interval_95": [round(end, 5) for end in each.errors.interval],
                "not_answered": each.unanswered.wrong,
                "supported": each.supported,
            }
            for each in found
        },
        "scores": {
            each.species: [
                None if one.score is None else round(one.score, 4) for one in attempts if one.species == each.species
            ]
            for each in found
        },
    }


def _signed(result: dict[str, Any], key: Path) -> bytes:
    import json

    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from edge.trust import cose
    from edge.trust.cbor import Tagged, encode
    from edge.trust.keys import jwk_thumbprint

    private: Any = load_pem_private_key(key.read_bytes(), None)
    by = cose.signer(private, jwk_thumbprint(private.public_key()))
    payload = json.dumps(result, indent=1, sort_keys=True).encode()
    return encode(Tagged(cose.SIGN1, cose.make_sign1(payload, by, {cose.CONTENT_TYPE: _TYPE}, aad=_AAD)))


def _verify(args: argparse.Namespace) -> int:
    from edge.errors import Refusal
    from edge.trust import cose
    from edge.trust.keys import pinned, public_from

    try:
        key = pinned(public_from(args.key.read_bytes()))
        message = cose.message(cose.unwrap(args.result.read_bytes()))
    except (ValueError, OSError, Refusal) as error:
        return _wrong(str(error))
    if message.protected.get(cose.CONTENT_TYPE) != _TYPE or not message.verifies(message.signatures[0], key, aad=_AAD):
        return _wrong(f"{args.result} is not a result signed by that key")
    print(message.payload.decode())
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from edge.biometric import presentation
    from edge.devices.kept import lasting
    from edge.errors import DeviceError
    from edge.settings import SettingsError

    try:
        if args.undo or args.write:
            lasting()
        if args.undo:
            return _undo(args.config)
        sessions = _sessions(args)
        attempts = list(_attempts(args, sessions))
        threshold = presentation.calibrated(attempts, args.apcer)
    except (ValueError, OSError, DeviceError) as error:
        return _wrong(str(error))
    found = presentation.findings(attempts, threshold)
    _table(found, threshold)
    few = [each.species for each in found if not each.supported]
    if few:
        print(f"# not supported by these data: below {100 * presentation.PROMISED:g} % for {', '.join(few)}", end="")
        print(f" takes {presentation.NEEDED} presentations each without an error")
    if not args.write:
        print(f"# for this camera only; --write puts it into force:\nattack_threshold = {threshold:.2f}")
        return 0
    try:
        return _write(args.config, sessions, found, threshold)
    except (SettingsError, ValueError, OSError) as error:
        return _wrong(str(error))


def _write(config: Path, sessions: ModelSessions, found: Sequence[Finding], threshold: float) -> int:
    """Put the calibration beside the configuration, unless the gate would refuse it.

    Raises:
        SettingsError: the configuration is wrong.
        ValueError: the gate would refuse the calibration.
        OSError: it cannot be written.
    """
    from datetime import UTC, datetime

    from edge.app import calibrated
    from edge.biometric import presentation
    from edge.biometric.calibration import Calibration
    from edge.decision import Policy
    from edge.settings import load, profile

    settings = load(config)
    of_profile = profile(settings.site.profile, Policy, settings.source).attack_threshold
    camera = calibrated.camera_of(settings.camera)
    models = tuple(sha.hex() for role, (_, sha) in sorted(sessions.models.models.items()) if role.startswith("attack"))
    people = next(each for each in found if each.species == presentation.BONA_FIDE)
    attacks = [each for each in found if each.species != presentation.BONA_FIDE and each.errors.of]
    made = Calibration(
        camera=camera,
        models=models,
        attack_threshold=threshold,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        people=people.errors.of,
        attacks=sum(each.errors.of for each in attacks),
        apcer=round(max(each.errors.rate for each in attacks), 5),
        bpcer=round(people.errors.rate, 5),
        supported=all(each.supported for each in attacks),
    )
    made.threshold(of_profile, camera, models)
    path = calibrated.write(made, config)
    print(f"written: {path}: attack_threshold {of_profile:.2f} of the profile becomes {threshold:.2f}")
    print(f"the log will name it by its digest, {made.digest.hex()}")
    print("in force from the next start: systemctl restart edge-gate")
    return 0


def _undo(config: Path) -> int:
    from edge.app import calibrated

    try:
        before = calibrated.undo(config)
    except OSError as error:
        return _wrong(str(error))
    if before is None:
        return _wrong(f"there is no {calibrated.place_of(config)}; the profile's attack_threshold is in force")
    now = "the calibration before it" if before else "the profile's attack_threshold"
    print(f"taken back; {now} holds again from the next start: systemctl restart edge-gate")
    return 0


def _table(found: Sequence[Finding], threshold: float) -> None:
    from edge.biometric import presentation

    print(f"at threshold {threshold:.2f}:")
    for each in found:
        low, high = each.errors.interval
        name = "BPCER" if each.species == presentation.BONA_FIDE else "APCER"
        rate = f"{100 * each.errors.rate:6.2f} %" if each.errors.of else "     none"
        said = "" if each.supported else f"  too few to say whether below {100 * presentation.PROMISED:g} %"
        print(
            f"  {each.species:<18} {name} {rate} (95 %: {100 * low:.1f} to {100 * high:.1f} %, {each.errors.wrong} of "
            f"{each.errors.of}), no answer {each.unanswered.wrong} of {each.unanswered.of}{said}"
        )
    top = presentation.worst(found)
    if top is not None:
        print(f"  greatest APCER: {100 * top.errors.rate:.2f} % ({top.species})")


def _wrong(text: str) -> int:
    print(f"edge face: {text}", file=sys.stderr)
    return 1
