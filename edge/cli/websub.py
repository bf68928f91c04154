"""``edge trust websub``: a subscriber beside the operator's desk, until it is interrupted."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import fetching

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from edge.sync.notices import Topic
    from edge.sync.office import Office

_HEAD_BYTES = 16 << 10


@dataclass(frozen=True)
class Hub:
    """The file of settings without its topics.

    Attributes:
        hub: where subscriptions are asked for.
        callback: where the hub finds us.
        host, port: where we listen.
        certificate: of that port; none behind a proxy on this machine.
        lease_s: asked of the hub.
        offers_from: hosts that certificates may be fetched from.
    """

    hub: str
    callback: str
    host: str = "127.0.0.1"
    port: int = 8444
    certificate: Path = Path()
    lease_s: int = 86_400
    offers_from: tuple[str, ...] = ()


def describe(websub: argparse.ArgumentParser) -> None:
    """Add the arguments of ``websub``."""
    websub.add_argument("settings", type=Path, metavar="WEBSUB.toml")
    websub.add_argument(
        "--credentials", type=Path, metavar="DIR", help="websub-secret, websub-token, websub-tls-key (or systemd's)"
    )
    fetching.reaching(websub)


def read(path: Path) -> tuple[Hub, dict[str, Topic]]:
    """The settings in a file, and what each topic means.

    Raises:
        SettingsError: names the key.
    """
    from edge.settings import SettingsError, read_toml, section
    from edge.sync.notices import DOES, Topic

    tables = read_toml(path)
    named = tables.pop("topics", {})
    if not isinstance(named, dict) or not named:
        raise SettingsError(f"{path}: [topics] names none")
    hub: Hub = section(Hub, tables, "websub", path.parent, str(path))
    topics = {name: section(Topic, table, f"topics.{name}", path.parent, str(path)) for name, table in named.items()}
    for name, topic in topics.items():
        if topic.does not in DOES:
            raise SettingsError(f"{path}: topics.{name}.does should be one of {', '.join(DOES)}")
    if not hub.hub.startswith("https://") or not hub.callback.startswith("https://"):
        raise SettingsError(f"{path}: hub and callback should be HTTPS addresses")
    if hub.certificate == Path() and hub.host not in ("127.0.0.1", "::1"):
        raise SettingsError(f"{path}: without a certificate host should be 127.0.0.1, behind a proxy that has one")
    return hub, topics


def act(args: argparse.Namespace, office: Callable[[], Office], out: Callable[[Office, dict[str, bytes]], None]) -> int:
    """Subscribe and listen until interrupted."""
    import asyncio
    import contextlib
    import logging
    import sys

    from edge.settings import SettingsError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        hub, topics = read(args.settings)
        office()
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(args, hub, topics, office, out))
    except SettingsError as error:
        print(f"edge trust: {error}", file=sys.stderr)
        return 2
    return 0


async def _run(
    args: argparse.Namespace,
    hub: Hub,
    topics: dict[str, Topic],
    office: Callable[[], Office],
    out: Callable[[Office, dict[str, bytes]], None],
) -> None:
    import asyncio
    import ipaddress
    import signal

    from edge.listening import Listening
    from edge.sync.fetching import Reach, post
    from edge.sync.notices import Notices
    from edge.sync.websub import Pace, Subscriber

    token = _credential(args, "websub-token", needed=False)
    headers = {"Authorization": f"Bearer {token.decode()}"} if token else {}
    reach = Reach(tuple(map(ipaddress.ip_network, args.network)), args.issuer_ca)
    notices = Notices(office, topics, fetching.fetcher(args), out, hub.offers_from)
    secret, pace = _credential(args, "websub-secret", needed=True), Pace(hub.lease_s, min(30.0, hub.lease_s / 4))
    subscriber = Subscriber(
        hub.callback,
        secret,
        tuple(topics),
        lambda form: post(hub.hub, form, reach, headers),
        notices.heard,
        pace,
    )
    port = Listening("websub", hub.host, hub.port, _HEAD_BYTES, 2, tls=_tls(args, hub))
    ready = asyncio.Event()
    main: Any = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, main.cancel)
    try:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(port.serve(subscriber, lambda _: ready.set()))
            await ready.wait()
            parts.create_task(subscriber.run())
            parts.create_task(notices.run())
    except asyncio.CancelledError:
        return  # told to stop
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors


def _credential(args: argparse.Namespace, name: str, *, needed: bool) -> bytes:
    import os

    from edge.settings import SettingsError

    folder = args.credentials or Path(os.environ.get("CREDENTIALS_DIRECTORY", "") or "credentials")
    try:
        content: bytes = (folder / name).read_bytes().strip()
    except OSError as error:
        if not needed:
            return b""
        raise SettingsError(f"credential {folder / name}: {error.strerror}") from error
    if len(content) < (32 if needed else 1):
        raise SettingsError(f"credential {folder / name}: {len(content)} bytes where 32 or more belong")
    return content


def _tls(args: argparse.Namespace, hub: Hub) -> ssl.SSLContext | None:
    import os
    import ssl

    from edge.settings import SettingsError

    if hub.certificate == Path():
        return None
    folder = args.credentials or Path(os.environ.get("CREDENTIALS_DIRECTORY", "") or "credentials")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(hub.certificate, folder / "websub-tls-key")
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{hub.certificate} with the credential websub-tls-key: {error}") from error
    return context
