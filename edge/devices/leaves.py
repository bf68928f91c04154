"""What the journal and its followers read from the log's file in the same way.

One row per entry: ``ix``, ``entry`` (None once it is pruned), ``nodes``: the hashes of the tree nodes that this entry
completes, level 0 first, 32 bytes each. So node (level, i) is in the row of the last leaf below it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from edge.audit.entry import LogError
from edge.audit.tree import HASH, Frontier, Nodes, completed, frontier_of, leaf_hash

T = TypeVar("T")
_NOTHING = bytes(HASH)
_KEPT_LEVEL = 8
APPLICATION = 0x45444745
SCHEMA = (
    f"PRAGMA application_id = {APPLICATION}",
    """CREATE TABLE log(
        one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, origin TEXT NOT NULL,
        epoch INTEGER NOT NULL, boot INTEGER NOT NULL) STRICT""",
    "CREATE TABLE leaf(ix INTEGER PRIMARY KEY, entry BLOB, nodes BLOB NOT NULL, tag BLOB) STRICT",
)
_ROWS = "SELECT ix, CAST(entry AS BLOB), CAST(nodes AS BLOB) FROM leaf WHERE ix >= ? ORDER BY ix"


def count(file: sqlite3.Connection) -> int:
    """How many entries there are."""
    (last,) = file.execute("SELECT max(ix) FROM leaf").fetchone()
    return 0 if last is None else int(last) + 1


def nodes(file: sqlite3.Connection) -> Nodes:
    """The hashes of complete subtrees, as they are on disk."""

    def node(level: int, index: int) -> bytes:
        leaf = ((index + 1) << level) - 1
        row = file.execute(
            "SELECT substr(nodes, ?, ?) FROM leaf WHERE ix = ?", (level * HASH + 1, HASH, leaf)
        ).fetchone()
        if row is None or len(row[0]) != HASH:
            raise LogError(f"entry {leaf} is missing")
        return bytes(row[0])

    return node


def with_nodes(file: sqlite3.Connection, known: dict[tuple[int, int], bytes], ask: Callable[[Nodes], T]) -> T:
    """What ``ask`` computes from nodes, with all of them read in one go: first it is asked which ones it needs.

    Args:
        file: the log.
        known: nodes of high levels that were read before; complete subtrees never change. Grows by two for every
            256 entries.
        ask: inclusion, consistency or root.
    """
    found: dict[tuple[int, int], bytes] = {}
    wanted: dict[tuple[int, int], int] = {}

    def note(level: int, index: int) -> bytes:
        place = (level, index)
        if (kept := known.get(place)) is not None:
            found[place] = kept
        else:
            wanted[place] = ((index + 1) << level) - 1
        return _NOTHING

    ask(note)
    rows = sorted(set(wanted.values()))
    places = ",".join("?" * len(rows))  # the same text for as many, so that SQLite prepares it once
    query = f"SELECT ix, CAST(nodes AS BLOB) FROM leaf WHERE ix IN ({places})"  # noqa: S608 -- question marks only
    read: dict[int, bytes] = dict(file.execute(query, rows).fetchall()) if rows else {}
    for (level, index), leaf in wanted.items():
        node = read.get(leaf, b"")[level * HASH : (level + 1) * HASH]
        if len(node) != HASH:
            raise LogError(f"entry {leaf} is missing")
        found[level, index] = node
        if level >= _KEPT_LEVEL:
            known[level, index] = node
    return ask(lambda level, index: found[level, index])


def frontier_on_disk(file: sqlite3.Connection, last: int) -> Frontier:
    """The frontier, after hashing the ``last`` entries again.

    Raises:
        LogError: they do not give the nodes beside them, or one is missing.
    """
    size = count(file)
    first = max(0, size - last)
    frontier = frontier_of(first, nodes(file))
    for index, entry, kept in file.execute(_ROWS, (first,)):
        if index != frontier.size or len(kept) != completed(index) * HASH:
            raise LogError(f"entry {frontier.size} is missing")
        frontier, done = frontier.append(kept[:HASH] if entry is None else leaf_hash(entry))
        if b"".join(done) != kept:
            raise LogError(f"entry {index} was changed")
    return frontier
