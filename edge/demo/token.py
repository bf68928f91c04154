"""A SoftHSM token that lives as long as the demo, and can be pulled out."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edge.demo.configuration import KEY_ID, LABEL, PIN
from edge.errors import DeviceError

_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/{machine}-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
)
_PROVISION = """
import sys
from pathlib import Path
from edge.devices.provisioning import provision
from edge.devices.token import TokenPlace, to_pem
module, label, key_id, pin, pem = sys.argv[1:]
Path(pem).write_bytes(to_pem(provision(TokenPlace(Path(module), label, "", key_id), pin)))
"""


def softhsm() -> Path:
    """The library of SoftHSM.

    Raises:
        DeviceError: it is not installed.
    """
    import platform

    for place in _MODULES:
        path = Path(place.format(machine=platform.machine()))
        if path.exists():
            return path
    raise DeviceError("token", "SoftHSM is not installed; scripts/setup installs it")


class SoftToken:
    """One token in the stage's directory."""

    def __init__(self, folder: Path) -> None:
        self.module = softhsm()
        self.configuration = folder / "softhsm2.conf"
        self._tokens, self._drawer = folder / "tokens", folder / "tokens-unplugged"

    def make(self, environment: dict[str, str], python: str, pem: Path) -> None:
        """Initialise the token, make its key, write the public key to ``pem``.

        Raises:
            DeviceError: SoftHSM does not do it.
        """
        self._tokens.mkdir(mode=0o700)
        self.configuration.write_text(
            f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\nlog.level = ERROR\n", encoding="utf-8"
        )
        initialise = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", PIN]
        _run(initialise, environment)
        # In a process of its own: a PKCS#11 library reads its configuration once per process.
        _run([python, "-c", _PROVISION, str(self.module), LABEL, KEY_ID, PIN, str(pem)], environment)

    def pull(self) -> None:
        """Pull the token out."""
        self._tokens.rename(self._drawer)
        self._tokens.mkdir(mode=0o700)

    def plug(self) -> None:
        """Put it back."""
        if self._drawer.exists():
            self._tokens.rmdir()
            self._drawer.rename(self._tokens)


def _run(command: list[str], environment: dict[str, str]) -> None:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        raise DeviceError("token", f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise DeviceError("token", f"{Path(command[0]).name}: {done.stderr.strip()[-300:]}")
