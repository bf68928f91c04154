"""Reads a TOML file into the dataclasses that it is meant for. An unknown key is an error that names it."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from edge.settings.sections import Settings

T = TypeVar("T")

LIMITS = {
    "_pin": 27,
    "port": 65535,
    "gate.release_s": 30.0,
    "gate.held_s": 300.0,
    "controller.address": 126,
    "controller.output": 255,
    "clock.uncertainty_s": 3600.0,
    "policy.fmr": 0.1,
    "policy.attack_threshold": 1.0,
    "policy.capture_s": 55.0,
    "policy.skew_s": 3600,
    "rules.slow_s": 60.0,
}
"""Greatest values by the end of a key; whatever is not named is only finite and not negative."""
NAMES = frozenset({"site.tenant", "site.site", "site.gate"})
"""Texts that stand in the origin of the log and in topics."""
_NAME = re.compile(r"[a-z0-9-]{1,40}")
ADDRESSES = frozenset({"web.host"})
"""Texts that are an address of this machine, or localhost: another name has to be looked up while people wait."""


class SettingsError(ValueError):
    """The configuration is wrong; the message names the key and what it should be."""


def load(path: Path) -> Settings:
    """Read and check the configuration.

    Raises:
        SettingsError: the file cannot be read, a key is unknown, missing, or of the wrong kind.
    """
    tables = read_toml(path)
    base = path.resolve().parent
    known = {f.name: f for f in dataclasses.fields(Settings) if f.name != "source"}
    hints = typing.get_type_hints(Settings)
    _same_keys(known, tables, str(path), "")
    sections = {name: section(hints[name], tables[name], name, base, str(path)) for name in known if name in tables}
    return Settings(**sections, source=path)


def profile(name: str, kind: type[T], source: Path) -> T:
    """The policy of a profile, ``profiles/<name>.toml`` beside the configuration, as the dataclass ``kind``.

    Raises:
        SettingsError: names the file and the key.
    """
    path = source.resolve().parent / "profiles" / f"{name}.toml"
    made: T = section(kind, read_toml(path), "policy", path.parent, str(path))
    return made


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SettingsError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def section(kind: type, table: Any, name: str, base: Path, source: str) -> Any:
    """One table of the file as the dataclass ``kind``; relative paths are taken from ``base``.

    Raises:
        SettingsError: names the key.
    """
    if not isinstance(table, dict):
        raise SettingsError(f"{source}: [{name}] should be a table")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    _same_keys(fields, table, source, f"{name}.")
    return kind(**{key: _value(hints[key], value, f"{name}.{key}", base, source) for key, value in table.items()})


def _same_keys(fields: dict[str, Any], table: dict[str, Any], source: str, prefix: str) -> None:
    for key in table:
        if key not in fields:
            raise SettingsError(f"{source}: unknown key {prefix}{key}")
    for key, known in fields.items():
        optional = known.default is not dataclasses.MISSING or known.default_factory is not dataclasses.MISSING
        if key not in table and not optional:
            raise SettingsError(f"{source}: missing key {prefix}{key}")


def _value(hint: Any, value: Any, key: str, base: Path, source: str) -> Any:
    """``value`` as the field wants it."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    wrong = SettingsError(f"{source}: {key} should be {_said(hint)}, not {value!r}")
    if origin is typing.Literal:
        if value in args and type(value) in {type(arg) for arg in args}:
            return value
        raise wrong
    if origin is types.UnionType:
        return _value(next(arg for arg in args if arg is not type(None)), value, key, base, source)
    if origin is tuple:
        if not isinstance(value, list):
            raise wrong
        kinds = [args[0]] * len(value) if args[-1] is ... else list(args)
        if len(kinds) != len(value):
            raise wrong
        names = [f"{key}[{n}]" if dataclasses.is_dataclass(kind) else key for n, kind in enumerate(kinds)]
        each = zip(kinds, value, names, strict=True)
        return tuple(_value(kind, item, name, base, source) for kind, item, name in each)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return section(hint, value, key, base, source)
    if hint is Path and isinstance(value, str):
        return base / Path(value).expanduser() if value else Path()
    if hint is float and type(value) in (int, float):
        return float(_bounded(value, key, source))
    if type(value) is hint:
        if key in ADDRESSES:
            return _address(value, key, source)
        if key in NAMES and not _NAME.fullmatch(value):
            said = f"{source}: {key} should be 1 to 40 lower-case letters, digits and hyphens, not {value!r}"
            raise SettingsError(said)
        return _bounded(value, key, source) if hint is int else value
    raise wrong


def _address(value: str, key: str, source: str) -> str:
    """In its one way of writing, so that addresses can be compared."""
    try:
        return str(ipaddress.ip_address("127.0.0.1" if value == "localhost" else value))
    except ValueError:
        raise SettingsError(f"{source}: {key} should be an address like 192.168.1.20, not {value!r}") from None


def _bounded(value: float, key: str, source: str) -> float:
    """A number that means something: finite, not negative, and within what its key allows."""
    most = next((limit for end, limit in LIMITS.items() if key.endswith(end)), math.inf)
    if not (math.isfinite(value) and 0 <= value <= most):
        raise SettingsError(f"{source}: {key} should be a number from 0 to {most:g}, not {value!r}")
    return value


def _said(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(arg) for arg in typing.get_args(hint))
    names = {Path: "a path", float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
    return names.get(hint, "a list" if typing.get_origin(hint) is tuple else str(hint))
