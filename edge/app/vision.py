"""edge-vision: camera, code reading, faces: hostile pixels and picture bytes. No network, no GPIO, no journal."""

from __future__ import annotations

import asyncio
import logging

from edge.app.manifest import manifest_of
from edge.app.service import credential_path, keep_alive, notify, place_for, report_health, secret, wait_for
from edge.biometric.enrolled import Seals
from edge.errors import DeviceError
from edge.settings import Settings, SettingsError
from edge.vision import selftest
from edge.vision.enrolled import Galleries
from edge.vision.server import Vision
from edge.vision.sessions import ModelSessions
from edge.vision.stills import Stills

_log = logging.getLogger("edge.vision")


async def run(settings: Settings) -> None:
    """Look and answer until cancelled."""
    sessions = await asyncio.to_thread(tested_models, settings)
    vision = Vision(settings.camera, sessions, galleries=Galleries(settings.paths.faces, seals_of(settings)))
    socket = place_for(settings.paths.vision_socket)
    async with asyncio.TaskGroup() as parts:
        parts.create_task(vision.run(socket))
        if settings.iavs.enabled:
            parts.create_task(Stills(lambda: models_for_stills(settings)).run(place_for(settings.paths.stills_socket)))
        parts.create_task(report_health(settings.paths.health_socket, vision.conditions))
        await wait_for(socket)
        parts.create_task(keep_alive(vision.alive))
        notify("READY=1")


def tested_models(settings: Settings) -> ModelSessions | DeviceError:
    """The models, after their self-test; or what is wrong with them, which every question is then answered with."""
    try:
        manifest = manifest_of(settings)
        sessions = ModelSessions.open(manifest, settings.models.folder, settings.models.set, settings.models.threads)
        selftest.run(sessions, manifest, settings.models.folder)
    except DeviceError as error:
        _log.error("refusing to serve: %s", error)
        return error
    if not sessions.models.detects_attacks:
        _log.warning("model set %s: attacks by photo or screen are NOT detected", sessions.models.name)
    return sessions


def seals_of(settings: Settings) -> Seals | None:
    """What opens the galleries' records; without the key they are locked.

    Raises:
        SettingsError: the key is too short.
    """
    if not credential_path(settings.paths, "gallery-key").exists():
        return None
    try:
        return Seals(secret(settings.paths, "gallery-key"))
    except ValueError as error:
        raise SettingsError(str(error)) from error


def models_for_stills(settings: Settings) -> ModelSessions:
    """The same models once more, on one thread, so that a picture from an office never holds up a frame."""
    return ModelSessions.open(manifest_of(settings), settings.models.folder, settings.models.set, 1)
