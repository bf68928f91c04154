from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.biometric.manifest import Manifest, parse
from edge.biometric.tables import ManifestError
from edge.biometric.thresholds import UnsupportedRate
from edge.biometric.values import ReferenceKind

TOML = Path(__file__).resolve().parents[2] / "models" / "models.toml"
TABLES = tomllib.loads(TOML.read_text(encoding="utf-8"))
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def manifest() -> Manifest:
    return parse(TABLES)


def complaint(change: Change) -> str:
    tables = copy.deepcopy(TABLES)
    change(tables)
    with pytest.raises(ManifestError) as caught:
        parse(tables)
    return str(caught.value)


def test_the_shipped_manifest_is_good(manifest: Manifest) -> None:
    assert set(manifest.sets) == {"default", "standard"}
    assert manifest.model("default", "attack-v2") is None
    embedder = manifest.model("standard", "embedder")
    assert embedder is not None
    assert embedder.dimensions == 256


def test_the_default_set_comes_from_the_package_index_alone(manifest: Manifest) -> None:
    for name in manifest.sets["default"].models.values():
        assert {source.kind for source in manifest.models[name].asset.sources} <= {"folder", "wheel", "sdist"}
        assert any(source.kind != "folder" for source in manifest.models[name].asset.sources)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t["models"]["centerface"].pop("sha256"), "missing key models.centerface.sha256"),
        (lambda t: t["models"]["centerface"].update(sha256="12"), "models.centerface.sha256 should be 64 hexadecimal"),
        (lambda t: t["models"]["centerface"].update(colour="red"), "unknown key models.centerface.colour"),
        (lambda t: t["models"]["centerface"].update(file="../x"), "models.centerface.file should be a plain file name"),
        (lambda t: t["models"]["centerface"]["input"].update(scale="1"), "models.centerface.input.scale"),
        (lambda t: t["models"]["centerface"]["sources"][1].update(kind="ftp"), "models.centerface.sources[1].kind"),
        (
            lambda t: t["sets"]["default"].update(detector="nobody"),
            "sets.default.detector: no detector called 'nobody'",
        ),
        (lambda t: t["sets"]["default"].pop("embedder"), "missing key sets.default.embedder"),
        (lambda t: t["sets"]["default"].update(embedder="centerface"), "sets.default.embedder: no embedder called"),
        (lambda t: t["selftest"]["genuine"].append(["obama", "nobody"]), "selftest: no portrait called 'nobody'"),
        (lambda t: t["selftest"].update(genuine=[]), "selftest.genuine should be a list of pairs"),
        (lambda t: t.update(extra=1), "unknown key extra"),
        (
            lambda t: t["models"]["omz-face-reid-0095"]["thresholds"][0].update(score=[0.5, 0.4, 0.3, 0.2]),
            "models.omz-face-reid-0095.thresholds[0]: fmr should fall and score should rise",
        ),
        (
            lambda t: t["models"]["omz-face-reid-0095"]["thresholds"][0].update(score=[0.5]),
            "models.omz-face-reid-0095.thresholds[0].score should be 4 numbers",
        ),
        (lambda t: t["models"]["omz-face-reid-0095"].update(points=[1, 2]), "omz-face-reid-0095.points should be 10"),
    ],
)
def test_a_wrong_manifest_names_the_key(change: Change, said: str) -> None:
    assert said in complaint(change)


def test_a_threshold_is_the_score_measured_at_that_rate(manifest: Manifest) -> None:
    assert manifest.threshold("dlib-face-resnet-v1", ReferenceKind.FULL, 0.001) == 0.930
    assert manifest.threshold("omz-face-reid-0095", ReferenceKind.SMALL, 0.0001) == 0.432
    assert manifest.threshold("omz-face-reid-0095", ReferenceKind.FULL, 0.01) == 0.243


def test_between_two_rates_the_stricter_has_the_higher_score(manifest: Manifest) -> None:
    asked = [0.01, 0.005, 0.001, 0.0005, 0.0002, 0.0001]
    scores = [manifest.threshold("omz-face-reid-0095", ReferenceKind.FULL, fmr) for fmr in asked]
    assert scores == sorted(scores)
    assert 0.344 < scores[3] < 0.432


@pytest.mark.parametrize(
    ("model", "kind", "fmr", "said"),
    [
        ("dlib-face-resnet-v1", ReferenceKind.SMALL, 0.00001, "measured for 0.01 to 0.0001 only, not for 1e-05"),
        ("dlib-face-resnet-v1", ReferenceKind.FULL, 0.2, "not for 0.2"),
        ("dlib-face-resnet-v1", ReferenceKind.TEMPLATE, 0.001, "nothing was measured with a template reference"),
        ("another", ReferenceKind.FULL, 0.001, "no model 'another'"),
    ],
)
def test_a_rate_without_data_behind_it_has_no_threshold(
    manifest: Manifest, model: str, kind: ReferenceKind, fmr: float, said: str
) -> None:
    with pytest.raises(UnsupportedRate) as caught:
        manifest.threshold(model, kind, fmr)
    assert said in str(caught.value)


def test_a_rate_that_too_few_comparisons_stand_behind_has_no_threshold() -> None:
    tables = copy.deepcopy(TABLES)
    tables["models"]["omz-face-reid-0095"]["thresholds"][0]["impostor"] = 20_000
    few = parse(tables)
    assert few.threshold("omz-face-reid-0095", ReferenceKind.FULL, 0.01) == 0.243
    with pytest.raises(UnsupportedRate, match=r"0.001 takes 30000 impostor comparisons, there are 20000"):
        few.threshold("omz-face-reid-0095", ReferenceKind.FULL, 0.001)
