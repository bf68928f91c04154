"""What every process of the gate does the same way: readiness, watchdog, health, secrets, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from pathlib import Path

from edge.app.lines import handler
from edge.errors import DeviceError
from edge.settings import Paths, SettingsError
from edge.wire import Health, encode

_HEALTH_S = 1.0
_log = logging.getLogger("edge.service")


def notify(state: str) -> None:
    """Tell systemd how we are (sd_notify); without systemd, nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, contextlib.suppress(OSError):
        channel.sendto(state.encode(), address)


def watchdog_s() -> float | None:
    """How often systemd wants to hear from us: half of its patience; None when it does not watch."""
    patience_us = os.environ.get("WATCHDOG_USEC", "")
    return int(patience_us) / 2e6 if patience_us.isdigit() else None


async def keep_alive(well: Callable[[], bool]) -> None:
    """Feed the watchdog for as long as the process does its part."""
    every_s = watchdog_s()
    while every_s is not None:
        if well():
            notify("WATCHDOG=1")
        await asyncio.sleep(every_s)


async def beat(well: Callable[[], bool], move: Callable[[], None], every_s: float = 1.0) -> None:
    """Move the heartbeat's wire for as long as the process does its part: a loop that hangs moves nothing."""
    while True:
        if well():
            move()
        await asyncio.sleep(every_s)


async def report_health(
    socket_path: Path, conditions: Callable[[], Mapping[str, str]], note: Callable[[bool], None] = lambda _taken: None
) -> None:
    """Tell edge-gate once a second how our devices are.

    Args:
        socket_path: where it listens.
        conditions: of each device; "" is well, anything else the technician's sentence.
        note: told each time whether edge-gate took it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        while True:
            taken = True
            for device, detail in conditions().items():
                try:
                    channel.sendto(encode(Health(device, not detail, detail[:200])), str(socket_path))
                except OSError:  # edge-gate is away; it hears from us in a second
                    taken = False
            note(taken)
            await asyncio.sleep(_HEALTH_S)


def place_for(socket_path: Path) -> Path:
    """Make the directory of our own socket, where the units have not made it already, and clear an old socket away."""
    socket_path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    socket_path.unlink(missing_ok=True)
    return socket_path


async def wait_for(path: Path) -> None:
    """Wait until another part has made this file."""
    while not path.exists():  # noqa: ASYNC110, ASYNC240 -- a file has no event, and a look takes microseconds
        await asyncio.sleep(0.01)


def secret(paths: Paths, name: str, least: int = 1) -> bytes:
    """A secret from the credentials directory: systemd's, or the configured one; never from file, environment or argv.

    Raises:
        SettingsError: it is not there.
    """
    path = credential_path(paths, name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"credential {path}: {error.strerror}") from error
    if len(content.strip()) < least:
        raise SettingsError(f"credential {path}: {len(content.strip())} bytes where {least} or more belong")
    return content


def credential_path(paths: Paths, name: str) -> Path:
    """Where the secret of that name lies."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "") or paths.credentials) / name


def serve(name: str, story: Callable[[], Coroutine[None, None, None]]) -> int:
    """Run one process until it is told to stop; its exit status."""
    logging.basicConfig(level=logging.INFO, handlers=[handler(f"edge-{name}")])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o027)
    try:
        asyncio.run(_until_told(story()))
    except BaseExceptionGroup as errors:
        ours, others = errors.split((SettingsError, DeviceError))
        if others is not None or ours is None:
            raise
        return max(_said(error) for error in _leaves(ours))
    except (SettingsError, DeviceError) as error:
        return _said(error)
    return 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _said(error: BaseException) -> int:
    """One sentence for the technician, and the exit status that goes with it."""
    _log.error("%s", error)
    return 2 if isinstance(error, SettingsError) else 1


async def _until_told(story: Awaitable[None]) -> None:
    """Run the story; SIGTERM and SIGINT end it as a cancellation, so that every ``finally`` is reached."""
    task = asyncio.ensure_future(story)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unexpected)
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        notify("STOPPING=1")


def _unexpected(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What went wrong where nobody waited for it, by its type only: a message may hold what was shown to the camera."""
    _log.error("unexpected %s in the background", type(context.get("exception")).__name__)
