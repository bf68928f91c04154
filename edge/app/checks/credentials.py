"""Secrets as they are on this machine: in the credentials directory, or encrypted for their process alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.app.checks.finding import HERE, Finding, Machine
from edge.app.chosen import policy_of
from edge.app.service import credential_path, secret
from edge.settings import Settings, SettingsError


def names_of(settings: Settings) -> tuple[str, ...]:
    """The secrets that this configuration asks for, in its order."""
    mqtt, iavs = settings.mqtt, settings.iavs
    handed = iavs.enabled and (iavs.at_gate or iavs.lanes)
    asked = (
        ("site-key", True),
        ("pkcs11-pin", True),
        (mqtt.key, mqtt.enabled),
        ("witness-key", mqtt.enabled and mqtt.witnesses != Path()),
        ("web-tls-key", settings.web.certificate != Path()),
        ("iavs-key", iavs.enabled),
        ("iavs-tls-key", iavs.enabled),
        ("gallery-key", bool(policy_of(settings).gallery or handed)),
        ("osdp-key", settings.controller.kind.startswith("osdp")),
    )
    return tuple(name for name, wanted in asked if wanted)


def secrets_of(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """Whether each of them is there."""
    names = names_of(settings)
    plain = [name for name in names if not _sealed(machine, name).exists()]
    missing = False
    for name in plain:
        try:
            secret(settings.paths, name)
        except SettingsError as error:
            missing = True
            yield Finding("secrets", False, str(error), f"edge provision secret {name}, with the one that belongs here")
    if not missing:
        kept = f"{len(names) - len(plain)} are encrypted for their processes alone, " if len(plain) < len(names) else ""
        yield Finding("secrets", True, f"{kept}{len(plain)} credentials can be read")


def opened(settings: Settings, name: str, device: str, machine: Machine = HERE) -> bytes:
    """One of them, from wherever it is; only root can open an encrypted one.

    Raises:
        SettingsError: it is in neither place.
        DeviceError: systemd cannot open it: it was encrypted for another machine, or we are not root.
    """
    sealed = _sealed(machine, name)
    if credential_path(settings.paths, name).exists() or not sealed.exists():
        return secret(settings.paths, name)
    return machine.ask(device, "systemd-creds", "decrypt", f"--name={name}", str(sealed), "-")


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """A path to it for a library that takes nothing but a path; on no disk."""
    fd = os.memfd_create("credential")
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _sealed(machine: Machine, name: str) -> Path:
    return machine.store / f"edge-gate.{name}"
