"""Reading the manifest's tables one key at a time, so that every complaint can name its key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

Word = TypeVar("Word", bound=str)
_MISSING: Any = object()
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ManifestError(ValueError):
    """models.toml is wrong; the message names the key and what it should be."""


class Table:
    """One table of the file; keys are taken out of it, and ``close`` complains about those left over."""

    def __init__(self, content: Any, path: str) -> None:
        if not isinstance(content, Mapping):
            raise ManifestError(f"{path or 'the file'} should be a table")
        self._left = dict(content)
        self.path = path

    def close(self) -> None:
        """Complain about keys that nobody asked for.

        Raises:
            ManifestError: names the first of them.
        """
        for key in self._left:
            raise ManifestError(f"unknown key {self._name(key)}")

    def has(self, key: str) -> bool:
        """Whether the key is there and was not taken yet."""
        return key in self._left

    def text(self, key: str, otherwise: str = _MISSING) -> str:
        """A text that is not empty."""
        value = self._take(key, otherwise)
        if not isinstance(value, str) or (not value and otherwise is _MISSING):
            raise self._wrong(key, "a text", value)
        return value

    def file_name(self, key: str) -> str:
        """A file name without folders."""
        value = self.text(key)
        if not _FILE_NAME.fullmatch(value):
            raise self._wrong(key, "a plain file name", value)
        return value

    def digest(self, key: str) -> bytes:
        """A SHA-256 as 64 hexadecimal digits."""
        value = self.text(key)
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise self._wrong(key, "64 hexadecimal digits", value)
        return bytes.fromhex(value)

    def one_of(self, key: str, words: tuple[Word, ...]) -> Word:
        """One of these words."""
        value = self._take(key)
        for word in words:
            if value == word:
                return word
        raise self._wrong(key, "one of " + ", ".join(words), value)

    def number(self, key: str) -> float:
        """A number."""
        value = self._take(key)
        if type(value) not in (int, float):
            raise self._wrong(key, "a number", value)
        return float(value)

    def whole(self, key: str) -> int:
        """A whole number from 0 on."""
        value = self._take(key)
        if type(value) is not int or value < 0:
            raise self._wrong(key, "a whole number", value)
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._take(key)
        if type(value) is not bool:
            raise self._wrong(key, "true or false", value)
        return value

    def numbers(self, key: str, count: int | None = None) -> tuple[float, ...]:
        """A list of numbers."""
        value = self._take(key)
        if not isinstance(value, list) or any(type(each) not in (int, float) for each in value):
            raise self._wrong(key, "a list of numbers", value)
        if count is not None and len(value) != count:
            raise self._wrong(key, f"{count} numbers", value)
        return tuple(float(each) for each in value)

    def texts(self, key: str, otherwise: tuple[str, ...] = _MISSING) -> tuple[str, ...]:
        """A list of texts."""
        value = self._take(key, otherwise)
        if not isinstance(value, (list, tuple)) or any(not isinstance(each, str) for each in value):
            raise self._wrong(key, "a list of texts", value)
        return tuple(value)

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """A list of pairs of texts, at least one."""
        value = self._take(key)
        good = (
            isinstance(value, list) and bool(value) and all(isinstance(each, list) and len(each) == 2 for each in value)
        )
        if not good or any(not isinstance(word, str) for each in value for word in each):
            raise self._wrong(key, "a list of pairs of texts", value)
        return tuple((first, second) for first, second in value)

    def table(self, key: str) -> Table:
        """The table under this key."""
        return Table(self._take(key), self._name(key))

    def tables(self, key: str) -> Iterator[tuple[str, Table]]:
        """The tables under this key, by their names."""
        path = self._name(key)
        for name, content in Table(self._take(key), path)._left.items():
            yield name, Table(content, f"{path}.{name}")

    def rows(self, key: str) -> Iterator[Table]:
        """The list of tables under this key."""
        value = self._take(key)
        if not isinstance(value, list) or not value:
            raise self._wrong(key, "a list of tables", value)
        for number, content in enumerate(value):
            yield Table(content, f"{self._name(key)}[{number}]")

    def _take(self, key: str, otherwise: Any = _MISSING) -> Any:
        value = self._left.pop(key, otherwise)
        if value is _MISSING:
            raise ManifestError(f"missing key {self._name(key)}")
        return value

    def _name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _wrong(self, key: str, wanted: str, value: Any) -> ManifestError:
        return ManifestError(f"{self._name(key)} should be {wanted}, not {value!r}")
