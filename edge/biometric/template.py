"""The template in a card: an embedder's vector in few bytes, signed by the issuer.

1. 1, 4 or 8 bits a dimension. 8 and 4 bits begin with two bytes, the form (1) and the bits, so that no length is read
   two ways; 1 bit is signs alone. For 256 dimensions that is 258, 130 and 32 bytes.
2. The vector has length one, so its values scatter by 1/√dimensions and the steps are fixed: no scale is stored.
3. Signs alone say less: a score against them is smaller by √(2/π), and it scatters. It is scaled so that the thresholds
   measured with whole vectors hold: the false match rate is kept, the false non-match rate pays.
4. Untrusted bytes give a vector or a refusal.

Why 1 bit needs more than √(π/2): the part of the probe that the signs do not see adds noise of 0.047 to every corrected
score, so impostors reach higher. ``SIGNS`` takes the correction back by as much as that lifts LFW's impostors at a rate
of 1 %, the worst of the four measured rates; a test draws impostors and counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.biometric.score import cosine, unit
from edge.errors import Reason, Refusal

Floats = NDArray[np.float32]
BITS = (1, 4, 8)
SIGNS = 1.135
"""What a score against signs is multiplied by."""
_FORM = 1
_STEP = {4: 0.335, 8: 0.047}
"""Width of a step in standard deviations: for 4 bits the one with the least error for a normal distribution."""


def quantised(vector: Floats, bits: int) -> bytes:
    """An embedder's vector as a template of 1, 4 or 8 bits a dimension.

    Raises:
        ValueError: another number of bits, or dimensions that do not fill whole bytes.
    """
    if bits not in BITS or vector.ndim != 1 or vector.size % 8:
        raise ValueError(f"no template of {bits} bits for {vector.shape} dimensions")
    if bits == 1:
        signs: bytes = np.packbits(vector >= 0).tobytes()
        return signs
    half = 1 << (bits - 1)
    level = np.floor(unit(vector) * np.sqrt(vector.size) / _STEP[bits]) + half
    levels = np.clip(level, 0, 2 * half - 1).astype(np.uint8)
    if bits == 4:
        levels = levels[::2] << 4 | levels[1::2]
    written: bytes = bytes([_FORM, bits]) + levels.tobytes()
    return written


def bits_of(template: bytes, dimensions: int) -> int:
    """Bits a dimension of a template of a model with so many dimensions.

    Raises:
        Refusal: it is no such template (``reference-unusable``).
    """
    if len(template) * 8 == dimensions:
        return 1
    for bits in (4, 8):
        if template[:2] == bytes([_FORM, bits]) and (len(template) - 2) * 8 == dimensions * bits:
            return bits
    raise Refusal(Reason.REFERENCE_UNUSABLE, f"{len(template)} bytes are no template of {dimensions} dimensions")


def restored(template: bytes, dimensions: int) -> Floats:
    """The vector that a template stands for, length one.

    Raises:
        Refusal: it is no template of so many dimensions (``reference-unusable``).
    """
    bits = bits_of(template, dimensions)
    if bits == 1:
        signs = np.unpackbits(np.frombuffer(template, np.uint8))
        return unit(signs.astype(np.float32) * 2 - 1)
    levels = np.frombuffer(template, np.uint8, offset=2)
    if bits == 4:
        levels = np.stack([levels >> 4, levels & 15], axis=1).ravel()
    return unit((levels.astype(np.float32) + np.float32(0.5) - (1 << (bits - 1))) * np.float32(_STEP[bits]))


def score(probe: Floats, template: bytes) -> float:
    """Comparison score of a probe's vector against a template, to be held against thresholds of whole vectors.

    Raises:
        Refusal: it is no template of the probe's model (``reference-unusable``).
    """
    alike = cosine(probe, restored(template, probe.size))
    return min(1.0, alike * SIGNS) if len(template) * 8 == probe.size else alike
