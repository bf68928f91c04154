"""Writes the demo's ``edge.toml``: settings as text, so that the five processes read it as they read a site's own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from edge.settings import Camera, Clock, Gate, Models, Mqtt, Paths, Seal, Settings, Site, Token, Trust, Web

SITE = Site(tenant="demo", site="lobby", gate="gate-1", profile="pilot")
NAME = f"{SITE.tenant}/{SITE.site}/{SITE.gate}"
FPS = 15.0
PIN = "2468"  # of a token that lives as long as the demo
LABEL, KEY_ID = "edge-demo", "01"
HOST = "127.0.0.1"


def settings(
    folder: Path, *, profile: str, models: Models, root: str, module: Path, mqtt: Mqtt, port: int, fps: float = FPS
) -> Settings:
    """What the demo's gate is told.

    Args:
        folder: the stage.
        profile: name of the profile.
        models: which models look.
        root: public key that signs trust lists, base64 of DER.
        module: the PKCS#11 library of the token.
        mqtt: where entries go.
        port: of the pages.
        fps: of the camera.
    """
    return Settings(
        site=dataclasses.replace(SITE, profile=profile),
        paths=Paths(folder / "state", folder / "run", folder / "credentials"),
        trust=Trust(folder / "trust.cbor", (root,)),
        clock=Clock("system", 2.0),
        camera=Camera("footage", str(folder / "scene"), 1280, 720, fps, frozen_s=2.0),
        models=models,
        gate=Gate("simulated", 17, 22, 23, 24, 25, 5, 16, 20, 21, 26, 19, release_s=3.0, held_s=10.0),
        token=Token(module, LABEL, "", KEY_ID, folder / "token.pem"),
        seal=Seal(entries=16, after_s=2.0, not_within_s=0.5),
        mqtt=mqtt,
        web=Web(HOST, port, readers="anyone"),
    )


def text(values: Settings) -> str:
    """The settings as TOML."""
    sections = [field.name for field in dataclasses.fields(values) if field.name != "source"]
    return "\n".join(_section(name, getattr(values, name)) for name in sections)


def _section(name: str, value: object) -> str:
    lines = [f"{field.name} = {_said(getattr(value, field.name))}" for field in dataclasses.fields(value)]  # type: ignore[arg-type] # every section is a dataclass
    return "\n".join([f"[{name}]", *lines, ""])


def _said(value: object) -> str:
    """One value; JSON and TOML write texts, numbers and lists of texts alike."""
    if isinstance(value, tuple):
        return json.dumps(list(value))
    if isinstance(value, Path):
        return json.dumps("" if value == Path() else str(value))
    return json.dumps(value)
