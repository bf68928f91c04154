"""What a run with the attack kit says: how often each kind of attack passed, how often people did not.

Rules:

1. APCER is told per species and its greatest counts, never a mean: an attacker takes the one that works.
2. A presentation that gave no answer (no face found, too poor to judge) is no success of the detector and no failure:
   it is counted as non-response, on both sides.
3. Every rate has its 95 % interval. "Below 2 %" takes 150 attempts without a success per species; where there are
   fewer, the run says what it can say.

Source: ISO/IEC 30107-3, chapters on APCER, BPCER, APNRR and BPNRR. Ours is a site's own trial, not a certified one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.biometric.accuracy import Rate

BONA_FIDE = "bona-fide"
SPECIES = {
    BONA_FIDE: "a real person looks into the camera, as at the gate",
    "print-flat": "the printed face, flat, held at arm's length, fingers beside it",
    "print-borderless": "the printed face cut out along its outline, held before your own face",
    "print-curved": "the printed face bent around a bottle or your own head",
    "print-eyes": "the printed face with eye holes cut out, worn before your own face; blink",
    "phone": "the face on a phone, full brightness",
    "tablet": "the face on a tablet or laptop, so large that the frame is out of view",
    "replay": "a film of a face that turns, nods and blinks, on the best screen at hand",
    "mask": "a mask of paper, cloth or latex",
}
"""What to present, by name; a site may add its own."""
PROMISED = 0.02
NEEDED = 150


@dataclass(frozen=True)
class Attempt:
    """One presentation: the species, and the score; None when there was no answer, and then why."""

    species: str
    score: float | None
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """One species.

    Attributes:
        species: its name.
        errors: attacks taken for people, or people taken for attacks, of those that were answered.
        unanswered: presentations without an answer, of all.
    """

    species: str
    errors: Rate
    unanswered: Rate

    @property
    def supported(self) -> bool:
        """Whether the attempts are enough to say that the rate is below what is promised, or that it is not."""
        low, high = self.errors.interval
        return self.errors.of >= NEEDED or low > PROMISED or high < PROMISED


def findings(attempts: Sequence[Attempt], threshold: float) -> list[Finding]:
    """What each species did at this threshold, people first."""
    names = sorted({attempt.species for attempt in attempts}, key=lambda name: (name != BONA_FIDE, name))
    return [_finding(name, [one for one in attempts if one.species == name], threshold) for name in names]


def _finding(species: str, attempts: Sequence[Attempt], threshold: float) -> Finding:
    scores = [attempt.score for attempt in attempts if attempt.score is not None]
    passed = sum(score >= threshold for score in scores)
    wrong = len(scores) - passed if species == BONA_FIDE else passed
    return Finding(species, Rate(wrong, len(scores)), Rate(len(attempts) - len(scores), len(attempts)))


def worst(found: Sequence[Finding]) -> Finding | None:
    """The attack that passes most often; None when no attack was answered."""
    attacks = [finding for finding in found if finding.species != BONA_FIDE and finding.errors.of]
    return max(attacks, key=lambda finding: finding.errors.rate, default=None)


def calibrated(attempts: Sequence[Attempt], apcer: float) -> float:
    """A threshold at which no species passes more often than this: in hundredths, in the middle of all that do as well.

    Between the lowest that is strict enough and the highest that refuses no more people than that, so that neither side
    stands at the edge.

    Raises:
        ValueError: there are no answered attacks, or no people to tell them from; or no threshold is strict enough.
    """
    people = [one.score for one in attempts if one.species == BONA_FIDE and one.score is not None]
    attacks = {one.species for one in attempts if one.species != BONA_FIDE and one.score is not None}
    if not people or not attacks:
        raise ValueError("a calibration takes answered presentations of people and of attacks")
    strict = []
    for hundredths in range(1, 100):
        found = {each.species: each.errors for each in findings(attempts, hundredths / 100)}
        if all(found[name].rate <= apcer for name in attacks):
            strict.append((hundredths, found[BONA_FIDE].wrong))
    if not strict:
        raise ValueError(f"no threshold keeps every kind of attack to {100 * apcer:g} %")
    as_good = [hundredths for hundredths, refused in strict if refused == strict[0][1]]
    return (as_good[0] + as_good[-1]) // 2 / 100
