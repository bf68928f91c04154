"""Every device as the gate sees it. One page: read this after ``accesspoint.py``.

A port is what the story needs from the world, in the story's words. ``devices/`` has a real one and a simulated twin of
each. All of them raise ``DeviceError`` when the device does not do its part; readers and faces raise ``Refusal`` when
the person has to act.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Final, Protocol

from edge.audit.checkpoint import Checkpoint
from edge.audit.entry import Entry, Event, Kind, Value
from edge.biometric.values import Comparison, Enrolled, Identification, ModelSet, Probe, ProbeQuality, Reference
from edge.credential import Credential
from edge.passage import Indication, Sensed
from edge.trust.interval import Interval


@dataclass(frozen=True)
class Code:
    """The text of a code that somebody shows.

    Attributes:
        text: as read, untrusted.
        frame: sequence number of the frame.
        seen_at: when that frame was handed over, seconds on the monotonic clock of the machine.
        took_us: microseconds of reading that frame.
    """

    text: str = field(repr=False)
    frame: int
    seen_at: float
    took_us: int


COMMITTED: Final = object()
"""What a journal holds and nobody else: a test names the modules that may import it."""


@dataclass(frozen=True)
class Receipt:
    """Proof that an entry is on disk. Only a journal makes one; the lock asks for that of a grant before it opens.

    Attributes:
        index: of the entry in the log.
        commit_us: microseconds from the call to the durable commit.
        kind: of the entry.
    """

    index: int
    commit_us: int
    kind: Kind
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not COMMITTED:
            raise TypeError("only a journal makes a Receipt")


class Reader(Protocol):
    """The eye for codes."""

    async def code(self) -> Code:
        """Wait until somebody shows a code; the same code held up longer counts once."""
        ...


class Faces(Protocol):
    """The eye for faces. Pixels and templates stay on its side."""

    async def models(self) -> ModelSet:
        """Say which models are at work."""
        ...

    async def probe(
        self, wanted: ProbeQuality, newer_than: int, deadline_s: float, reference: Reference | None = None
    ) -> Probe:
        """Wait for exactly one whole face of the wanted quality in a frame after ``newer_than``.

        ``reference`` is what it will be compared with, so that this is looked at while the face is waited for.

        Raises:
            Refusal: no-biometric-probe, several-faces or probe-quality when the deadline passes without one;
                reference-unusable.
        """
        ...

    async def compare(self, reference: Reference, probe: Probe) -> Comparison:
        """Compare that probe, not a newer one, with the reference.

        Raises:
            Refusal: reference-unusable; not-enrolled or gallery-fault for somebody of a gallery.
        """
        ...

    async def enrolled(self, reference: Enrolled) -> None:
        """Look whether the gallery has a face of this person that can be compared; nothing of it comes out.

        Raises:
            Refusal: not-enrolled, gallery-fault, reference-unusable.
        """
        ...

    async def search(self, gallery: str, probe: Probe) -> Identification:
        """Compare that probe with everybody in the gallery.

        Raises:
            Refusal: not-recognised where nobody is enrolled, gallery-fault.
        """
        ...

    async def forget(self) -> None:
        """Drop all pixels and templates of this visit."""
        ...


class Clock(Protocol):
    """Time as an interval, and a stopwatch."""

    def now(self) -> Interval:
        """Say between which moments now is."""
        ...

    def raise_floor(self, moment: datetime) -> None:
        """Note that a verified, signed statement was made at ``moment``: now cannot be earlier."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment of this boot."""
        ...


class Journal(Protocol):
    """The log, as the gate writes it."""

    async def append(self, event: Event) -> Receipt:
        """Write one entry and return when it is on disk.

        Raises:
            DeviceError: it is not on disk; nothing may open.
        """
        ...


class Bodies(Protocol):
    """What the site keeps about people beside the log, if it does: encrypted, apart, deletable."""

    def told(self, credential: Credential) -> Mapping[str, Value]:
        """What is kept of this holder."""
        ...

    async def keep(self, told: Mapping[str, Value], *, granted: bool) -> bytes | None:
        """Put this away; the commitment to it for the entry, None when nothing of such a visit is kept.

        Raises:
            DeviceError: it is not on disk.
        """
        ...


class Lock(Protocol):
    """The outputs that can let somebody in: the entry, and where there are two doors, the exit."""

    def unlock(self, receipt: Receipt) -> None:
        """Energise the release; ``receipt`` proves that the grant is on disk."""
        ...

    def lock(self) -> None:
        """Drop the release. Always allowed, idempotent."""
        ...

    def unlock_exit(self, receipt: Receipt) -> None:
        """Energise the release of the second door for the person of this grant."""
        ...

    def lock_exit(self) -> None:
        """Drop the release of the second door. Always allowed, idempotent."""
        ...

    def free_exit(self) -> None:
        """Energise the release of the second door because there is a fire: the way out waits for no entry."""
        ...


class Dispenser(Protocol):
    """What hands out a benefit; it is enabled by the lock and tells each portion by a pulse (``Sensed.PORTION``)."""

    def counted(self) -> int | None:
        """How many portions it ever handed out, by a count of its own that survives a power cut; None: it has none."""
        ...


class FillLight(Protocol):
    """Light on the face, where one is fitted."""

    def fill(self, *, lit: bool) -> None:
        """Switch it."""
        ...


class Panel(Protocol):
    """Lights and buzzer: pattern as well as colour, so that nobody depends on seeing colours."""

    def show(self, indication: Indication) -> None:
        """Show one state until the next."""
        ...


class Sensors(Protocol):
    """Beams, contacts, buttons."""

    def sensed(self) -> AsyncIterator[Sensed]:
        """What the sensors report, in order, from now on."""
        ...


class Log(Protocol):
    """The log, as everybody else reads it: entries by position, proofs, and word of new ones.

    Calls read a local file, take microseconds and may come from any thread. All raise ``DeviceError("journal", ...)``
    when it cannot be read. Before the gate first ran there is no log: epoch 0, size 0.
    """

    def epoch(self) -> int:
        """Number of the present log; a new one follows damage."""
        ...

    def size(self) -> int:
        """How many entries it has."""
        ...

    def read(self, first: int, count: int) -> list[bytes]:
        """Up to ``count`` entries from index ``first``, as they are on disk."""
        ...

    def entries(self, first: int, count: int) -> list[Entry]:
        """Up to ``count`` entries from index ``first``, decoded."""
        ...

    def root(self, size: int) -> bytes:
        """Root of the tree over the first ``size`` entries."""
        ...

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Proof that entry ``index`` is among the first ``size``."""
        ...

    def consistency(self, older: int, newer: int) -> tuple[bytes, ...]:
        """Proof that the tree of ``newer`` entries continues that of ``older``."""
        ...

    async def grown(self, beyond: int, epoch: int | None = None) -> int:
        """Wait until there are more than ``beyond`` entries, or another epoch than ``epoch``; returns the size."""
        ...

    def follow(self, first: int) -> AsyncIterator[Entry]:
        """All entries from index ``first`` on, those to come included; goes on at 0 when a new epoch begins."""
        ...


class Checkpoints(Protocol):
    """The signed tree heads, as everybody reads them; ``DeviceError("checkpoints", ...)`` when they cannot be read."""

    def last(self) -> Checkpoint | None:
        """The newest checkpoint of the newest epoch."""
        ...

    def covering(self, epoch: int, index: int) -> Checkpoint | None:
        """The first checkpoint of the epoch that covers entry ``index``."""
        ...

    def after(self, epoch: int, size: int, count: int) -> list[Checkpoint]:
        """Up to ``count`` checkpoints after that of ``size`` entries in ``epoch``, in order, over epochs."""
        ...


class CheckpointStore(Checkpoints, Protocol):
    """The signed tree heads, as the sealer keeps them."""

    def add(self, checkpoint: Checkpoint) -> None:
        """Keep one more; it is on disk on return."""
        ...


class Token(Protocol):
    """The key that signs checkpoints, inside an HSM or smartcard."""

    async def sign(self, statement: bytes) -> bytes:
        """Sign the statement of a checkpoint with ES256; returns r || s, 64 bytes.

        The token's side parses the statement and signs nothing else, so that nobody can have other things signed; it
        also checks the signature, so that a token that signs wrongly is noticed here and not at an audit years later.

        Raises:
            DeviceError: token gone, locked, or holding another key than the enrolled one; or not a statement that
                continues what was signed before.
        """
        ...

    async def public_key(self) -> bytes:
        """The uncompressed point of the P-256 public key, 65 bytes, as read from the token.

        Raises:
            DeviceError: token gone.
        """
        ...

    async def remember(self, note: bytes) -> None:
        """Keep these few bytes in the token, in place of what it remembered before.

        Raises:
            DeviceError: token gone, full, or one that keeps no notes.
        """
        ...

    async def recall(self) -> bytes | None:
        """What the token remembers, None when nothing.

        Raises:
            DeviceError: token gone.
        """
        ...
