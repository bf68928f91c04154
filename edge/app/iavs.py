"""Identity services inside edge-web: gallery, neighbours, access and port, put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from functools import partial
from pathlib import Path

from edge import __version__
from edge.app.manifest import manifest_of
from edge.app.service import credential_path, secret
from edge.biometric.enrolled import Seals
from edge.biometric.manifest import Manifest
from edge.biometric.thresholds import UnsupportedRate
from edge.biometric.values import ReferenceKind
from edge.devices.clock import SystemClock
from edge.errors import DeviceError
from edge.iavs.access import Loopback, Rate, Tokens
from edge.iavs.bir import Reader
from edge.iavs.catalogue import catalogue
from edge.iavs.certificates import Certificates
from edge.iavs.desk import Desk, Options
from edge.iavs.door import Access
from edge.iavs.forgetting import settle
from edge.iavs.fusion import Calibration
from edge.iavs.gallery import Gallery
from edge.iavs.handing import Handing
from edge.iavs.jose import Invalid, Keys
from edge.iavs.keyfile import KeyFile
from edge.iavs.neighbours import Eye, Pen
from edge.iavs.refused import Refused
from edge.iavs.server import Port, serve
from edge.iavs.services import Services
from edge.iavs.vault import Vault
from edge.settings import Iavs, Settings, SettingsError
from edge.trust.interval import ClockState

_log = logging.getLogger("edge.iavs")
_WELL_S = 60.0


async def run(settings: Settings, *, insecure_loopback: bool = False, ready: asyncio.Future[int] | None = None) -> None:
    """Serve until cancelled.

    Raises:
        SettingsError: a file of the configuration is missing or is not what it should be.
        DeviceError: the gallery cannot be opened, or the port cannot be listened to.
    """
    chosen = settings.iavs
    vault = vault_of(settings)
    gallery = Gallery(settings.paths.gallery, vault, chosen.galleries, handing_of(settings))
    try:
        await _open(gallery)
        settle()
        eye, pen = Eye(settings.paths.stills_socket), Pen(settings.paths.record_socket)
        services = assembled(settings, gallery, vault, eye, pen, insecure_loopback=insecure_loopback)
        try:
            await serve(services.door, port_of(settings, insecure_loopback=insecure_loopback), ready)
        finally:
            await services.results.close()
            eye.close()
            pen.close()
    finally:
        await gallery.close()


async def _open(gallery: Gallery) -> None:
    try:
        await gallery.open()
    except Refused as error:
        raise DeviceError("gallery", f"cannot be opened: {error.detail}") from error
    except (sqlite3.Error, ValueError, OSError) as error:
        raise DeviceError("gallery", str(error)) from error


def assembled(
    settings: Settings, gallery: Gallery, vault: Vault, eye: Eye, pen: Pen, *, insecure_loopback: bool
) -> Services:
    """All services of this site."""
    chosen, manifest = settings.iavs, manifest_of(settings)
    issuers, signers = keys_of(settings, tokens=not insecure_loopback)
    desk = Desk(
        gallery,
        vault,
        eye,
        pen,
        Reader(catalogue(), signers, signed_only=chosen.signed_only),
        Options(chosen.model == "encounter", chosen.fmr, chosen.fpir, chosen.keep_pictures),
        partial(_threshold, manifest),
        __version__,
    )
    rate = Rate(chosen.per_minute)
    access: Access = Loopback(rate) if issuers is None else _tokens(settings, issuers, vault, pen, rate)
    embedders = {name: model for name, model in manifest.models.items() if model.role == "embedder"}
    worth = {
        name: Calibration.of(measured)
        for name, model in embedders.items()
        for measured in model.thresholds
        if measured.kind is ReferenceKind.FULL
    }
    return Services(desk, access, calibrations=worth)


def vault_of(settings: Settings) -> Vault:
    """The vault under the site's key.

    Raises:
        SettingsError: the credential is not there, or too short.
    """
    try:
        return Vault(secret(settings.paths, "iavs-key"))
    except ValueError as error:
        raise SettingsError(str(error)) from error


def handed_of(settings: Settings) -> set[str]:
    """The galleries that the gate is told of.

    Raises:
        SettingsError: one of them is none of this site's.
    """
    chosen = settings.iavs
    handed = {*chosen.at_gate, *chosen.lanes}
    if unknown := handed - set(chosen.galleries):
        raise SettingsError(f"iavs.at_gate, iavs.lanes: no gallery {', '.join(sorted(unknown))}")
    return handed


def handing_of(settings: Settings) -> Handing | None:
    """How the gate is told of people; None where it is told of nobody.

    Raises:
        SettingsError: as ``handed_of``, or the credential is not there, or too short.
    """
    chosen = settings.iavs
    if not handed_of(settings):
        return None
    try:
        seals = Seals(secret(settings.paths, "gallery-key"))
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return Handing(settings.paths.faces, seals, chosen.at_gate, chosen.lanes)


def port_of(settings: Settings, *, insecure_loopback: bool) -> Port:
    """Where the services answer."""
    chosen: Iavs = settings.iavs
    if insecure_loopback:
        return Port(chosen.host, chosen.port)
    crl = chosen.crl if chosen.crl != Path() else None
    key = credential_path(settings.paths, "iavs-tls-key")
    return Port(chosen.host, chosen.port, Certificates(chosen.certificate, key, chosen.ca, crl))


def keys_of(settings: Settings, *, tokens: bool = True) -> tuple[Keys | None, Keys | None]:
    """Keys of the issuers, where tokens are asked for, and of those who sign samples, where the site names them.

    Raises:
        SettingsError: tokens could not be judged with these.
    """
    chosen = settings.iavs
    if tokens and not chosen.audience:
        raise SettingsError("iavs.audience: tokens must name this gate")
    return _keys(chosen.issuers) if tokens else None, _keys(chosen.signers) if chosen.signers != Path() else None


def _tokens(settings: Settings, issuers: Keys, vault: Vault, pen: Pen, rate: Rate) -> Tokens:
    clock = SystemClock(settings.clock, settings.paths.gallery.parent / "clock-floor")
    return Tokens(
        issuers,
        settings.iavs.audience,
        rate,
        vault.break_glass,
        pen,
        sure=lambda: clock.now().state is ClockState.SYNCED,
    )


def _keys(path: Path) -> Keys:
    try:
        return KeyFile(path)
    except (OSError, Invalid) as error:
        raise SettingsError(f"{path}: {error}") from error


def _threshold(manifest: Manifest, model: str, kind: ReferenceKind, fmr: float) -> float:
    """The threshold; small references that were not measured so far are judged as whole ones."""
    with contextlib.suppress(UnsupportedRate):
        return manifest.threshold(model, kind, fmr)
    return manifest.threshold(model, ReferenceKind.FULL, fmr)


class Part:
    """The services as a part that edge-web can do without: what ends them is said once and they are begun again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.trouble = ""

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            SettingsError: the configuration is wrong; waiting does not mend that.
        """
        wait_s = 1.0
        while True:
            began = time.monotonic()
            try:
                await self._once()
            except DeviceError as error:
                if self.trouble != str(error):
                    _log.error("%s", error)
                self.trouble = str(error)
            wait_s = 1.0 if time.monotonic() - began > _WELL_S else min(30.0, 2 * wait_s)
            await asyncio.sleep(wait_s)

    async def _once(self) -> None:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        ready.add_done_callback(lambda _: self._well())
        await run(self._settings, ready=ready)

    def _well(self) -> None:
        self.trouble = ""
