"""A request that is not carried out: one code of the catalogue, and a detail without personal data."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 -- the word of the house for what is not done
    """The answer is this code; ``detail`` is for the caller's programmer."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
