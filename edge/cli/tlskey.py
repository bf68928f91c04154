"""``edge tlskey``: a TLS client key in a token: make it, ask for its certificate, write what stands for the key."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    tls = commands.add_parser("tlskey", help="a client key of edge-sync in a token", description=__doc__)
    tls.add_argument("uri", help="where: pkcs11:token=...;id=...?module-path=...; made there if there is none")
    tls.add_argument("--name", required=True, help="of the gate: <tenant>/<site>/<gate>")
    tls.add_argument("--request", type=Path, required=True, metavar="CSR", help="certificate request to write, PEM")
    tls.add_argument("--out", type=Path, required=True, metavar="PEM", help="file to write that stands for the key")
    tls.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Write both files; 1 when the token does not do its part."""
    from edge.cli.desk import pin_of
    from edge.devices.tlskey import key_file, request
    from edge.devices.tokenkey import Tokens
    from edge.errors import DeviceError

    try:
        with Tokens(pin_of) as tokens:
            key = tokens("tls", args.uri, True)
            if key is None:
                raise DeviceError("token", "it is not plugged in")
            args.request.write_bytes(request(key, args.name))
        args.out.write_bytes(key_file(args.uri))
    except (DeviceError, OSError) as error:
        print(f"edge tlskey: {error}", file=sys.stderr)
        return 1
    return 0
