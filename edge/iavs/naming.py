"""Whom a request is about.

Rules:

1. Subject and identity claim of one request name one person. Where they name two, nothing is read or done: whichever
   were taken, the caller meant the other as well.
2. In a gallery, or by a claim, only what that membership brought in counts.
"""

from __future__ import annotations

from edge.iavs.desk import Ask
from edge.iavs.refused import Refused
from edge.iavs.view import Membership, View


def meant(ask: Ask, view: View) -> tuple[str, list[Membership]]:
    """Whom the request names, by subject, claim or both, and by which memberships: of its claim, else of its gallery.

    Raises:
        Refused: INVALID_INPUT where subject and claim are of two people; UNKNOWN_SUBJECT, UNKNOWN_IDENTITY_CLAIM,
            UNKNOWN_GALLERY.
    """
    gallery, claim, subject = (ask.get(name) for name in ("galleryID", "identityClaim", "subjectID"))
    if gallery is not None:
        view.gallery(gallery)
    if claim is not None:
        found = view.claimed(claim, gallery or "")
        if subject is not None and view.subject(subject) != found[0].subject:
            raise Refused("INVALID_INPUT", "subjectID and identityClaim name two people")
        return found[0].subject, found
    found = [each for each in view.memberships(view.subject(str(subject))) if gallery in (None, each.gallery)]
    if gallery is not None and not found:
        raise Refused("UNKNOWN_SUBJECT", "not in this gallery")
    return str(subject), found
