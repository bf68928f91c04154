"""models/models.toml as types: which models there are, where they come from, and what their scores are worth.

1. Whatever the manifest does not say is an error that names the key; an unknown key is one too.
2. A threshold is asked for as a false match rate (``thresholds.py``).
3. Nothing is opened here: the caller reads the file and hands over its tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, get_args

from edge.biometric.liveness import NAMES, Cue
from edge.biometric.model import Asset, Input, Model, Role, Source, SourceKind
from edge.biometric.tables import ManifestError, Table
from edge.biometric.thresholds import Thresholds, UnsupportedRate
from edge.biometric.values import ReferenceKind

_ROLES: tuple[Role, ...] = get_args(Role)
_SOURCE_KINDS: tuple[SourceKind, ...] = get_args(SourceKind)
DECODERS = ("centerface", "yunet")
"""How a detector's output is written."""


@dataclass(frozen=True)
class Set:
    """Models that work together: role to name of the model, and what that means to the operator."""

    name: str
    meaning: str
    models: Mapping[Role, str]


@dataclass(frozen=True)
class SelfTest:
    """Pairs of portraits whose outcome is known, and the false match rate at which it must come out."""

    fmr: float
    genuine: tuple[tuple[str, str], ...]
    impostor: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Manifest:
    """The whole file."""

    sets: Mapping[str, Set]
    models: Mapping[str, Model]
    portraits: Mapping[str, Asset]
    selftest: SelfTest
    cues: Mapping[str, Cue]

    def model(self, set_name: str, role: Role) -> Model | None:
        """The model that plays this role in that set."""
        name = self.sets[set_name].models.get(role)
        return None if name is None else self.models[name]

    def threshold(self, model: str, kind: ReferenceKind, fmr: float) -> float:
        """The score from which on a probe matches a reference of this kind, at this false match rate.

        Raises:
            UnsupportedRate: the manifest's data do not support that rate; the message says what is there.
        """
        if model not in self.models:
            raise UnsupportedRate(f"no model {model!r} in the manifest")
        known = self.models[model].thresholds
        if kind is ReferenceKind.GALLERY and all(measured.kind is not kind for measured in known):
            kind = ReferenceKind.FULL  # what was enrolled is the template of a whole picture
        for measured in known:
            if measured.kind is kind:
                try:
                    return measured.at(fmr)
                except UnsupportedRate as error:
                    raise UnsupportedRate(f"{model}, {kind.value} reference: {error}") from error
        raise UnsupportedRate(f"{model}: nothing was measured with a {kind.value} reference")


def parse(tables: Mapping[str, Any]) -> Manifest:
    """The tables of models.toml as a manifest.

    Raises:
        ManifestError: a key is missing, unknown or of the wrong kind, or a name leads nowhere; says which.
    """
    top = Table(tables, "")
    models = {name: _model(name, table) for name, table in top.tables("models")}
    portraits = {name: _portrait(table) for name, table in top.tables("portraits")}
    sets = {name: _set(name, table, models) for name, table in top.tables("sets")}
    selftest = _selftest(top.table("selftest"), portraits)
    cues = {name: _cue(name, table) for name, table in top.tables("cues")} if top.has("cues") else {}
    top.close()
    return Manifest(sets, models, portraits, selftest, cues)


def _cue(name: str, table: Table) -> Cue:
    if name not in NAMES:
        raise ManifestError(f"{table.path}: no cue of that name; there are {', '.join(NAMES)}")
    cue = Cue(table.number("neutral"), table.number("weight"), table.number("limit"), table.number("trust"))
    table.close()
    if cue.limit < 0 or cue.trust < 0:
        raise ManifestError(f"{table.path}: limit and trust should not be below 0")
    return cue


def _set(name: str, table: Table, models: Mapping[str, Model]) -> Set:
    meaning = table.text("meaning")
    chosen: dict[Role, str] = {}
    for role in _ROLES:
        if table.has(role):
            model = table.text(role)
            if model not in models or models[model].role != role:
                raise ManifestError(f"{table.path}.{role}: no {role} called {model!r}")
            chosen[role] = model
    table.close()
    for role in ("detector", "embedder"):
        if role not in chosen:
            raise ManifestError(f"missing key {table.path}.{role}")
    return Set(name, meaning, chosen)


def _model(name: str, table: Table) -> Model:
    role = table.one_of("role", _ROLES)
    table.text("about")
    model = Model(name, role, _asset(table), _input(table.table("input")))
    match role:
        case "detector":
            model = replace(model, kind=table.one_of("decoder", DECODERS), least=table.number("least"))
        case "embedder":
            model = replace(
                model,
                points=_points(table),
                mirror=table.flag("mirror"),
                dimensions=table.whole("dimensions"),
                thresholds=tuple(_thresholds(each) for each in table.rows("thresholds")),
            )
        case _:
            model = replace(model, crop=table.number("crop"))
    table.close()
    return model


def _portrait(table: Table) -> Asset:
    asset = _asset(table)
    table.close()
    return asset


def _asset(table: Table) -> Asset:
    return Asset(
        file=table.file_name("file"),
        sha256=table.digest("sha256"),
        licence=table.text("licence"),
        sources=tuple(_source(each) for each in table.rows("sources")),
    )


def _source(table: Table) -> Source:
    source = Source(
        kind=table.one_of("kind", _SOURCE_KINDS),
        name=table.text("name"),
        sha256=table.digest("sha256"),
        member=table.text("member", ""),
        convert=table.text("convert", ""),
        tag=table.texts("tag", ()),
    )
    table.close()
    return source


def _input(table: Table) -> Input:
    seen = Input(
        name=table.text("name"),
        width=table.whole("width"),
        height=table.whole("height"),
        colours=table.one_of("colours", ("rgb", "bgr")),
        mean=table.numbers("mean", 3),
        scale=table.number("scale"),
    )
    table.close()
    return seen


def _points(table: Table) -> tuple[tuple[float, float], ...]:
    flat = table.numbers("points", 10)
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _thresholds(table: Table) -> Thresholds:
    kind = ReferenceKind(table.one_of("kind", tuple(kind.value for kind in ReferenceKind)))
    rates = table.numbers("fmr")
    measured = Thresholds(
        kind=kind,
        fmr=rates,
        score=table.numbers("score", len(rates)),
        fnmr=table.numbers("fnmr", len(rates)),
        genuine=table.whole("genuine"),
        impostor=table.whole("impostor"),
        data=table.text("data"),
    )
    table.close()
    if not rates or any(a <= b for a, b in pairwise(rates)) or any(a >= b for a, b in pairwise(measured.score)):
        raise ManifestError(f"{table.path}: fmr should fall and score should rise")
    return measured


def _selftest(table: Table, portraits: Mapping[str, Asset]) -> SelfTest:
    test = SelfTest(table.number("fmr"), table.pairs("genuine"), table.pairs("impostor"))
    table.close()
    for pair in test.genuine + test.impostor:
        for name in pair:
            if name not in portraits:
                raise ManifestError(f"{table.path}: no portrait called {name!r}")
    return test
