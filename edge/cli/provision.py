"""``edge provision request|answer|apply|codes|secret``: makes a machine a gate of a site, over a memory stick or codes.

On the gate ``request`` makes keys and a request; at the site's desk ``answer`` signs; on the gate ``apply`` puts the
answer in its place. Two fingerprints are compared by eye: that of the request and that of the authority.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.app.provision import Places

_CONFIG = Path("/etc/edge-gate/edge.toml")
_OWN = frozenset(
    {"pkcs11-pin", "site-key", "ledger-key", "content-keys", "witness-key", "iavs-key", "iavs-tls-key", "gallery-key"}
    | {"web-tls-key", "mqtt-key", "osdp-key"}
)
_KEPT = Path("/var/lib/edge-gate/provision")


def add(commands: Any) -> None:
    """Add ``provision`` to the command line."""
    provision = commands.add_parser("provision", help="make this machine a gate of a site")
    actions = provision.add_subparsers(dest="action", required=True, metavar="ACTION")

    ask = actions.add_parser("request", help="on the gate: make its keys and a request for the site")
    ask.add_argument("--origin", required=True, metavar="URN", help="urn:gate:TENANT:SITE:GATE")
    ask.add_argument("--log-key", type=Path, metavar="PEM", help="public key of the token (default: token.pem)")
    ask.add_argument("--out", type=Path, required=True, metavar="FILE")
    ask.set_defaults(act=_request)

    answer = actions.add_parser("answer", help="at the site: sign certificate, configuration and secrets for a request")
    answer.add_argument("request", type=Path)
    answer.add_argument("--authority", type=Path, required=True, metavar="PEM", help="the site's private key")
    answer.add_argument("--ca", type=Path, required=True, metavar="PEM", help="certificate of the broker's authority")
    answer.add_argument("--ca-key", type=Path, required=True, metavar="PEM")
    answer.add_argument("--files", type=Path, required=True, metavar="DIR", help="edge.toml, profiles/, trust/, mqtt/")
    answer.add_argument(
        "--secret", action="append", default=[], metavar="NAME=FILE", help="a secret that gates of the site share"
    )
    answer.add_argument("--version", type=int, help="must grow (default: the time)")
    answer.add_argument("--days", type=int, default=825, help="of the certificate")
    answer.add_argument("--out", type=Path, required=True, metavar="FILE")
    answer.set_defaults(act=_answer)

    codes = actions.add_parser("codes", help="show a file as codes, for a gate without a socket for a stick")
    codes.add_argument("file", type=Path)
    codes.add_argument("--out", type=Path, required=True, metavar="DIR", help="one picture a code")
    codes.set_defaults(act=_codes)

    apply = actions.add_parser("apply", help="on the gate: verify the site's answer and put it in its place")
    apply.add_argument("answer", type=Path, nargs="?")
    apply.add_argument("--camera", action="store_true", help="read the answer from codes held before the camera")
    apply.add_argument("--pictures", type=Path, nargs="+", metavar="FILE", help="read it from pictures of codes")
    apply.add_argument("--authority", type=Path, metavar="PEM", help="the site's public key, the first time")
    apply.add_argument("--fingerprint", default="", metavar="DIGITS", help="of that key, as the site told it")
    apply.set_defaults(act=_apply)

    secret = actions.add_parser("secret", help="on the gate: keep one secret, such as the token's PIN")
    secret.add_argument("name", choices=sorted(_OWN), help="of the credential")
    secret.add_argument("--file", type=Path, help="file with it; asked for otherwise")
    secret.add_argument("--make", action="store_true", help="make a random one of 32 bytes")
    secret.set_defaults(act=_secret)

    for action in (ask, apply, secret):
        action.add_argument("--config", type=Path, default=_CONFIG)
        action.add_argument("--kept", type=Path, default=_KEPT, help=argparse.SUPPRESS)
        action.add_argument(
            "--plain-secrets", action="store_true", help="do not encrypt secrets with systemd (a bench, a container)"
        )


def _request(args: argparse.Namespace) -> int:
    from edge.app import provision

    def act() -> None:
        log_key = (args.log_key or args.config.parent / "token.pem").read_bytes()
        asked = provision.request(_places(args), args.origin, log_key)
        args.out.write_bytes(asked.encoded)
        print(f"request of {asked.origin} written to {args.out}")
        print(f"fingerprint {asked.fingerprint}: read it to whoever answers")

    return _said(act)


def _answer(args: argparse.Namespace) -> int:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from edge.app import provision
    from edge.trust import cose, site

    def act() -> None:
        asked = site.request_of(args.request.read_bytes())
        private: Any = load_pem_private_key(args.authority.read_bytes(), None)
        ca_key: Any = load_pem_private_key(args.ca_key.read_bytes(), None)
        ca = x509.load_pem_x509_certificate(args.ca.read_bytes())
        files = provision.files_of(args.files)
        files["mqtt/gate.pem"] = provision.certificate(asked, ca, ca_key, args.days)
        files["mqtt/ca.pem"] = args.ca.read_bytes()
        secrets = {name: Path(path).read_bytes() for name, _, path in (pair.partition("=") for pair in args.secret)}
        now = datetime.now(UTC)
        made = site.answer(
            asked,
            args.version or int(now.timestamp()),
            files,
            secrets,
            (now, now + timedelta(days=args.days)),
            cose.signer(private),
        )
        args.out.write_bytes(made)
        from edge.trust.keys import pinned

        print(f"request of {asked.origin}, fingerprint {asked.fingerprint}: compare it with what the gate shows")
        print(f"answer written to {args.out}: {len(files)} files, {len(secrets)} secrets, {len(made)} bytes")
        print(f"fingerprint of the authority {site.fingerprint(pinned(private.public_key()).thumbprint)}")

    return _said(act)


def _codes(args: argparse.Namespace) -> int:
    import segno

    from edge.credential.parts import parts

    def act() -> None:
        texts = parts(args.file.read_bytes())
        args.out.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(texts, 1):
            segno.make(text, error="l", micro=False).save(str(args.out / f"code-{number:02}.png"), scale=6, border=4)
        print(f"{len(texts)} codes in {args.out}; hold them before the camera in any order")

    return _said(act)


def _apply(args: argparse.Namespace) -> int:
    from edge.app import provision
    from edge.devices import kept

    def act() -> None:
        kept.lasting()
        places = _places(args)
        given = args.authority.read_bytes() if args.authority else None
        authority = provision.authority_of(places, given, args.fingerprint)
        answer = provision.verified(places, _read(args), authority)
        provision.put(places, answer)
        print(f"version {answer.version} in place: {len(answer.files)} files, {len(answer.secrets) + 1} secrets")
        print("next: edge check, then systemctl restart edge.target")

    return _said(act)


def _secret(args: argparse.Namespace) -> int:
    import getpass
    import secrets

    from edge.app import provision
    from edge.devices import kept

    def act() -> None:
        kept.lasting()
        if args.make:
            content = secrets.token_hex(16).encode() if args.name == "osdp-key" else secrets.token_bytes(32)
        elif args.file is not None:
            content = args.file.read_bytes()
        else:
            content = getpass.getpass(f"{args.name}: ").encode()
        if not content.strip():
            raise ValueError("an empty secret is none")
        provision.keep_secret(_places(args), args.name, content)
        print(f"{args.name} is kept")

    return _said(act)


def _read(args: argparse.Namespace) -> bytes:
    """The answer from a file, from pictures or from the camera."""
    from edge.trust.site import LIMIT

    if args.answer is not None:
        with args.answer.open("rb") as file:
            return bytes(file.read(LIMIT + 1))
    return _collected(_pictured(args.pictures) if args.pictures else _seen(args.config))


def _collected(texts: Iterator[str]) -> bytes:
    """The file of which these are the parts; what else is in view is passed over."""
    from edge.credential.parts import PREFIX, Collected
    from edge.errors import Refusal
    from edge.trust.site import LIMIT

    collected, told = Collected(LIMIT), -1
    for text in texts:
        if not text.startswith(PREFIX):
            continue
        try:
            whole = collected.add(text)
        except Refusal as refusal:
            print(f"passed over: {refusal.detail}", file=sys.stderr)
            continue
        if len(collected.missing) != told:
            told = len(collected.missing)
            print(f"still missing: {', '.join(map(str, collected.missing)) or 'nothing'}", file=sys.stderr)
        if whole is not None:
            return whole
    raise OSError(0, "not all codes of the answer were seen")


def _pictured(paths: list[Path]) -> Iterator[str]:
    import cv2
    import zxingcpp

    for path in paths:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise OSError(0, f"{path} is no picture")
        yield from (code.text for code in zxingcpp.read_barcodes(picture))


def _seen(config: Path) -> Iterator[str]:
    """What the camera sees, for two minutes; edge-vision must not have it meanwhile."""
    import zxingcpp

    from edge.settings import load
    from edge.vision.camera import camera

    eye = camera(load(config).camera)()
    end = time.monotonic() + 120
    try:
        while time.monotonic() < end:
            yield from (code.text for code in zxingcpp.read_barcodes(eye.read().y))
    finally:
        eye.close()


def _places(args: argparse.Namespace) -> Places:
    from edge.app.provision import STORE, Places

    folder = args.config.parent
    return Places(folder, args.kept, None if args.plain_secrets else STORE, folder / "credentials")


def _said(act: Callable[[], None]) -> int:
    """Do it; the technician's sentence when it cannot be done."""
    from edge.errors import DeviceError, Refusal
    from edge.settings import SettingsError

    try:
        act()
    except (Refusal, SettingsError, DeviceError, OSError, ValueError) as error:
        detail = error.detail or error.reason.code if isinstance(error, Refusal) else str(error)
        print(f"edge provision: {detail}", file=sys.stderr)
        return 1
    return 0
