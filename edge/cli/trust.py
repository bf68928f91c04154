"""``edge trust show | sign``: look into a trust list, make a signed one of plain JSON."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import publishing, trusting

if TYPE_CHECKING:
    from edge.trust.list import Issuer, TrustList


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``trust`` to the command line."""
    trust = commands.add_parser("trust", help="who is trusted: lists, keys, publication")
    actions = trust.add_subparsers(dest="action", required=True, metavar="ACTION")

    show = actions.add_parser("show", help="who is trusted, with which keys, until when")
    show.add_argument("file", type=Path)
    show.add_argument(
        "--root", action="append", default=[], metavar="KEY", help="root key of a signed list: PEM or base64"
    )
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(act=act_show)

    sign = actions.add_parser("sign", help="make a signed list of plain JSON")
    sign.add_argument("file", type=Path, help='{"issuers": [{"iss": ..., "jwks": {"keys": [...]}, ...}]}')
    sign.add_argument("--key", required=True, type=Path, metavar="PEM", help="private root key (P-256 or Ed25519)")
    sign.add_argument("--version", type=int, metavar="N", help="of the list; must grow (default: the file's)")
    sign.add_argument("--days", type=float, default=35.0, help="until the list is stale")
    sign.add_argument("--out", required=True, type=Path, metavar="FILE")
    sign.set_defaults(act=act_sign)

    publishing.add(actions)
    trusting.add(actions)
    show.set_defaults(act=publishing.show_or(act_show))


def act_show(args: argparse.Namespace) -> int:
    """Show a list; 0 good, 1 not believed, 2 wrong usage."""
    from edge.cli.credential import open_trust

    try:
        trust = open_trust(args.file, args.root)
    except OSError as error:
        print(f"edge trust: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"edge trust: {error}", file=sys.stderr)
        return 1
    shown = _shown(trust)
    if args.json:
        print(json.dumps(shown, ensure_ascii=False))
        return 0
    print(f"version {shown['version']}, issued {shown['issued_at'] or '-'}, expires {shown['expires'] or '-'}")
    for issuer in shown["issuers"]:
        keys = ", ".join(issuer["keys"]) or "no keys"
        print(f"{issuer['name'] or '(names no issuer)'}: {keys}, {issuer['roots']} roots")
    return 0


def act_sign(args: argparse.Namespace) -> int:
    """Sign a list; 0 written, 1 the list is wrong, 2 wrong usage."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from edge.trust.cose import signer
    from edge.trust.list import write_list

    try:
        document = json.loads(args.file.read_text())
        private: Any = load_pem_private_key(args.key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        print(f"edge trust: {error}", file=sys.stderr)
        return 2
    now = datetime.now(UTC)
    document["issued_at"] = int(now.timestamp())
    document["expires"] = int((now + timedelta(days=args.days)).timestamp())
    if args.version is not None:
        document["version"] = args.version
    try:
        signed = write_list(document, signer(private))
    except (ValueError, TypeError) as error:
        print(f"edge trust: {error}", file=sys.stderr)
        return 1
    args.out.write_bytes(signed)
    return 0


def _shown(trust: TrustList) -> dict[str, Any]:
    return {
        "version": trust.version,
        "issued_at": trust.issued_at and trust.issued_at.isoformat(),
        "expires": trust.expires and trust.expires.isoformat(),
        "digest": trust.digest.hex(),
        "issuers": [_issuer(issuer) for issuer in trust.issuers],
    }


def _issuer(issuer: Issuer) -> dict[str, Any]:
    return {
        "name": issuer.name,
        "names": list(issuer.names),
        "keys": [f"{key.algorithm.jose} {key.thumbprint.hex()[:16]}" for key in issuer.keys],
        "roots": len(issuer.roots),
    }
