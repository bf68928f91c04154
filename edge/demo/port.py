"""A free port for a server that is told its number before it starts, as mosquitto and edge-web are.

Drawn below the numbers that the kernel gives to outgoing connections and to whoever asks for any port: such a number
may be somebody else's before the server has it, or while the server is away for a moment.
"""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
_LEAST: Final = 10_000
_KERNELS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port of this machine that nobody has."""
    while True:
        port = _LEAST + secrets.randbelow(_kernels_first() - _LEAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was closed just now is free
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def _kernels_first() -> int:
    """The first number that the kernel gives away by itself; its default where a machine is set up strangely."""
    try:
        first = int(_KERNELS.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        first = 0
    return first if first > _LEAST + 1000 else 32_768
