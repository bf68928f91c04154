"""``edge iavs openapi|token|gallery|serve``: identity services over the gallery."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add ``iavs`` to the command line."""
    iavs = commands.add_parser("iavs", help="identity services: document, access tokens, gallery")
    actions = iavs.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("openapi", help="print the OpenAPI document").set_defaults(act=_openapi)
    token = actions.add_parser("token", help="make an access token bound to a client certificate")
    token.set_defaults(act=_token)
    token.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
    token.add_argument("--certificate", type=Path, required=True, help="the client's certificate, PEM")
    token.add_argument("--client", required=True, help="the client's name")
    token.add_argument("--scope", action="append", default=[], help="a right; repeat; 'all' for all")
    token.add_argument("--gallery", action="append", help="the only gallery that the rights are for; repeat")
    token.add_argument("--minutes", type=int, default=60)
    how = token.add_mutually_exclusive_group(required=True)
    how.add_argument("--key", type=Path, help="the issuer's private key, PEM (P-256 or Ed25519)")
    how.add_argument("--break-glass", action="store_true", help="of this machine, at most 15 minutes, each use logged")
    how.add_argument("--issuers", type=Path, metavar="KEY", help="print the JWK set for this private key instead")
    token.add_argument("--kid", default="site", help="the issuer key's name")
    token.add_argument("--issuer", help="in whose name; in a JWK set, the only one that the key signs in")
    gallery = actions.add_parser("gallery", help="say how many people are in which gallery")
    gallery.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
    gallery.set_defaults(act=_gallery)
    serve = actions.add_parser("serve", help="serve without the pages; edge-vision and edge-gate must run")
    serve.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
    serve.add_argument("--insecure-loopback", action="store_true", help="development: no TLS, no tokens, this machine")
    serve.set_defaults(act=_serve)


def _openapi(_: argparse.Namespace) -> int:
    from edge import __version__
    from edge.iavs.catalogue import catalogue
    from edge.iavs.document import document, written

    sys.stdout.write(written(document(catalogue(), __version__)).decode())
    return 0


def _token(args: argparse.Namespace) -> int:
    import json
    import time
    import uuid

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    from edge.iavs import jose
    from edge.iavs.access import BREAK_GLASS_S, break_glass
    from edge.iavs.catalogue import catalogue
    from edge.settings import SettingsError, load

    known = catalogue().scopes()
    scopes = known if "all" in args.scope else args.scope
    if unknown := set(scopes) - set(known):
        print(f"edge iavs token: no such scope: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    try:
        if args.issuers is not None:
            named = {"iss": args.issuer} if args.issuer else {}
            print(json.dumps({"keys": [jose.jwk(_private(args.issuers).public_key(), args.kid) | named]}, indent=1))
            return 0
        chosen = load(args.config)
        certificate = x509.load_pem_x509_certificate(args.certificate.read_bytes())
        now = int(time.time())
        lasts_s = min(args.minutes * 60, BREAK_GLASS_S) if args.break_glass else args.minutes * 60
        claims = {
            "iss": args.issuer or chosen.site.origin,
            "aud": chosen.iavs.audience,
            "sub": args.client,
            "client_id": args.client,
            "iat": now,
            "exp": now + lasts_s,
            "jti": str(uuid.uuid4()),
            "scope": " ".join(scopes),
            "cnf": {"x5t#S256": jose.fold(certificate.fingerprint(hashes.SHA256()))},
        }
        if args.gallery:
            claims["galleries"] = args.gallery
        if args.break_glass:
            from edge.app.iavs import vault_of

            print(break_glass(vault_of(chosen).break_glass, claims))
        else:
            header = {"typ": "at+jwt", "kid": args.kid}
            print(jose.sign(_private(args.key), header, json.dumps(claims).encode()))
    except (OSError, ValueError, SettingsError) as error:
        print(f"edge iavs token: {error}", file=sys.stderr)
        return 1
    return 0


def _private(path: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(path.read_bytes(), None)


def _gallery(args: argparse.Namespace) -> int:
    import sqlite3

    from edge.settings import SettingsError, load

    try:
        settings = load(args.config)
        with sqlite3.connect(f"file:{settings.paths.gallery}?mode=ro", uri=True) as file:
            found = dict(file.execute("SELECT gallery, count(DISTINCT subject) FROM members GROUP BY gallery"))
            subjects = file.execute("SELECT count(*) FROM subjects").fetchone()[0]
            models = file.execute("SELECT model, count(*) FROM templates GROUP BY model").fetchall()
        file.close()
    except (SettingsError, sqlite3.Error) as error:
        print(f"edge iavs gallery: {error}", file=sys.stderr)
        return 1
    print(f"{subjects} subjects")
    for name in settings.iavs.galleries:
        print(f"gallery {name}: {found.get(name, 0)}")
    for model, count in models:
        print(f"templates of {model}: {count}")
    return 0


def _serve(args: argparse.Namespace) -> int:
    from edge.app import service
    from edge.app.memory import forgetful
    from edge.settings import SettingsError, load

    try:
        settings = load(args.config)
    except SettingsError as error:
        print(f"edge iavs serve: {error}", file=sys.stderr)
        return 2
    forgetful()
    from edge.app.iavs import run

    return service.serve("iavs", lambda: run(settings, insecure_loopback=args.insecure_loopback))
