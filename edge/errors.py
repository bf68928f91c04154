"""Refusals, device errors, and the list of reasons.

Three kinds of failure, by who has to act:

1. ``Refusal``: the person in front of the gate. Shown, recorded, next please.
2. ``DeviceError``: the technician. Said once, tried again, out of service meanwhile.
3. Anything else: us. Traceback, gate locked, process ends, systemd starts it again.

A ``Reason`` is written into logs that live for years: add, never rename.
"""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Why somebody is not let in: a stable code, a sentence for the person, one for the operator."""

    code: str
    person: str
    operator: str

    def __new__(cls, code: str, person: str, operator: str) -> Reason:
        """Make the code the member's value, so that ``Reason("expired")`` finds it in a log."""
        member = object.__new__(cls)
        member._value_ = code
        member.code = code
        member.person = person
        member.operator = operator
        return member

    @classmethod
    def of(cls, code: str) -> Reason:
        """The reason that a log calls by this code.

        Raises:
            ValueError: there is none.
        """
        found: Reason | None = cls._value2member_map_.get(code)  # type: ignore[assignment] # members are reasons
        if found is None:
            raise ValueError(f"{code!r} is no reason")
        return found

    # the code
    NOT_A_CREDENTIAL = (
        "not-a-credential",
        "This code is not an identity card. Please show the code on your card.",
        "The code is something else than a Claim 169 credential.",
    )
    UNREADABLE = (
        "unreadable",
        "This card cannot be read. Please ask for help.",
        "The credential is malformed: truncated, altered or made by faulty software.",
    )
    TOO_LARGE = (
        "too-large",
        "This card cannot be read. Please ask for help.",
        "The code inflates or nests beyond the limits; an attack or a faulty issuer.",
    )
    UNSUPPORTED = (
        "unsupported",
        "This gate cannot read this kind of card. Please ask for help.",
        "The credential uses a format or an algorithm that this gate does not accept.",
    )
    CANNOT_DECRYPT = (
        "cannot-decrypt",
        "This gate cannot read this card. Please ask for help.",
        "The credential is encrypted and no content key of this gate opens it.",
    )
    # trust
    UNKNOWN_ISSUER = (
        "unknown-issuer",
        "This gate does not know who issued this card. Please ask for help.",
        "The issuer is not on the trust list.",
    )
    UNKNOWN_KEY = (
        "unknown-key",
        "This gate cannot check this card yet. Please ask for help.",
        "The issuer is trusted, but the key is not on its list; the trust list may be old.",
    )
    KEY_WITHDRAWN = (
        "key-withdrawn",
        "This card is no longer accepted. Please ask your issuer for a new one.",
        "The issuer's key was withdrawn, or is outside its own validity.",
    )
    BAD_SIGNATURE = (
        "bad-signature",
        "This card was changed after it was issued. Please ask for help.",
        "The signature does not verify under the issuer's key.",
    )
    NO_TRUST = (
        "no-trust",
        "This gate is out of service. Please use another one.",
        "There is no verified trust list, or it is older than the profile allows.",
    )
    # time and status
    EXPIRED = (
        "expired",
        "This card has expired. Please ask your issuer for a new one.",
        "The credential's validity has ended.",
    )
    NOT_YET_VALID = (
        "not-yet-valid",
        "This card is not valid yet. Please come back later.",
        "The credential's validity has not begun.",
    )
    TIME_UNSURE = (
        "time-unsure",
        "This gate cannot tell the date. Please ask for help.",
        "The clock is not certain enough to tell whether the credential is still valid.",
    )
    BAD_CLAIM = (
        "bad-claim",
        "This card cannot be read. Please ask for help.",
        "A claim that the policy uses is missing or malformed.",
    )
    WRONG_AUDIENCE = (
        "wrong-audience",
        "This card is not meant for this gate. Please ask for help.",
        "The credential names whom it is for, and this gate is not among them.",
    )
    REVOKED = (
        "revoked",
        "This card is no longer accepted. Please ask your issuer for a new one.",
        "The issuer has withdrawn this card.",
    )
    SUSPENDED = (
        "suspended",
        "This card is not accepted at present. Please ask your issuer.",
        "The issuer has suspended this card.",
    )
    DENIED_HERE = (
        "denied-here",
        "This card is not accepted here. Please ask for help.",
        "The card is on the site's own list.",
    )
    STATUS_UNKNOWN = (
        "status-unknown",
        "This gate cannot check this card now. Please ask for help.",
        "Nobody can say here whether the card is withdrawn: the list is missing, past its end, or too old.",
    )
    LOCKED_DOWN = (
        "locked-down",
        "This gate is closed. Please ask for help.",
        "An operator has closed the gate by a signed command.",
    )
    # the biometric reference
    NO_REFERENCE = (
        "no-biometric-reference",
        "There is no photo in this card. Please ask for help.",
        "The credential carries no face to compare with.",
    )
    REFERENCE_UNUSABLE = (
        "reference-unusable",
        "The photo in this card is not good enough. Please ask for help.",
        "No face can be found in the credential's photo, or it does not decode.",
    )
    NOT_ENROLLED = (
        "not-enrolled",
        "There is no photo in this card, and you are not enrolled here. Please ask for help.",
        "The card carries no face, and the gallery does not know its holder.",
    )
    GALLERY_FAULT = (
        "gallery-fault",
        "This gate cannot look you up now. Please ask for help.",
        "The gallery of enrolled people is missing, locked or damaged.",
    )
    NOT_RECOGNISED = (
        "not-recognised",
        "We do not recognise you. Please ask for help.",
        "The face is nobody's in the gallery at the profile's false positive identification rate.",
    )
    NOT_MEASURED = (
        "not-measured",
        "This gate cannot recognise people now. Please ask for help.",
        "The models were not measured at the error rate that the profile asks for in a gallery of this size.",
    )
    # the biometric probe
    NO_PROBE = (
        "no-biometric-probe",
        "We did not see your face. Please take your card away, show it again, and look into the camera.",
        "No face came into position before the time was over.",
    )
    SEVERAL_FACES = (
        "several-faces",
        "Please come one at a time. Take your card away, then show it again.",
        "More than one face stood in the capture zone.",
    )
    PROBE_QUALITY = (
        "probe-quality",
        "We could not see your face well. Please come closer, into the light, take your card away, and show it again.",
        "The face was too small, too dark, blurred, turned or cut off.",
    )
    PRESENTATION_ATTACK = (
        "presentation-attack",
        "We could not be sure that it is you. Please take your card away, then show it again.",
        "A photo, a screen or a mask was suspected.",
    )
    TASK_NOT_DONE = (
        "task-not-done",
        "We could not be sure that it is you. Please take your card away, show it again, and do what is asked.",
        "The person did not do in time what the gate asked for (turn, nod, blink, come closer), or did something else.",
    )
    NO_ATTACK_DETECTION = (
        "no-attack-detection",
        "This gate is out of service. Please use another one.",
        "The profile asks for presentation attack detection and no detector answered.",
    )
    NO_MATCH = (
        "no-match",
        "We could not be sure that it is you. Please take your card away, then show it again.",
        "The face does not match the credential at the false match rate of the profile.",
    )
    # the gate itself
    CAMERA_FAULT = (
        "camera-fault",
        "This gate is out of service. Please use another one.",
        "The camera or its process gave no fresh picture.",
    )
    MODEL_FAULT = (
        "model-fault",
        "This gate is out of service. Please use another one.",
        "The face models did not answer or failed their self-test.",
    )
    JOURNAL_FAULT = (
        "journal-fault",
        "This gate is out of service. Please use another one.",
        "The log cannot be written; nothing opens without a durable entry.",
    )
    UNSEALED_TOO_LONG = (
        "unsealed-too-long",
        "Please see the reception.",
        "The token has not sealed the log for longer than the profile allows.",
    )
    # the rules of the site
    OUTSIDE_HOURS = (
        "outside-hours",
        "It is closed now. Please come back during opening hours.",
        "The policy's hours do not admit this holder now.",
    )
    NOT_PERMITTED = (
        "not-permitted",
        "This card is not for this entrance. Please ask for help.",
        "The holder is in none of the groups that may enter here, or lacks one that is needed.",
    )
    PASSED_BEFORE = (
        "passed-before",
        "This card has gone in already. Please see the reception.",
        "Anti-passback: the holder is inside by the site's passes, or went through a moment ago.",
    )
    FULL = (
        "full",
        "There is no room inside now. Please wait a while, then show your card again.",
        "As many people are known to be in the zone as the policy allows.",
    )
    SECOND_NEEDED = (
        "second-needed",
        "A second person has to show a card first. Please come together.",
        "The policy asks for an escort or a second person, and nobody was found good shortly before.",
    )
    SECONDARY_CHECK = (
        "secondary-check",
        "You were chosen for a check. Please see the reception.",
        "The lot fell on this visit; everything else is in order.",
    )
    ASSISTING = (
        "assisting",
        "Thank you. The person before you is let in.",
        "The badge of somebody who assists: the refusal before it is overruled, and nobody goes through on it.",
    )
    NO_CYCLE = (
        "no-cycle",
        "Nothing is handed out now. Please ask for help.",
        "No signed message has opened a cycle of this programme.",
    )
    ALREADY_RECEIVED = (
        "already-received",
        "You have received this already. Please ask for help.",
        "The ledger has a reservation or a benefit for this holder in the open cycle.",
    )
    DISPENSER_FAULT = (
        "dispenser-fault",
        "This gate is out of service. Please use another one.",
        "The dispenser does not tell its count, or the last visit is not finished.",
    )
    # a person decides
    REFERRED = (
        "referred",
        "Please see the reception.",
        "The profile asks for a person to decide.",
    )


class Refusal(Exception):  # noqa: N818 -- the word of the house for what a person may be told
    """The person is refused, for this reason.

    ``detail`` is for the operator's trace: what was wrong, never personal data.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.code}: {detail}" if detail else reason.code)
        self.reason = reason
        self.detail = detail


class DeviceError(Exception):
    """A device does not do what the gate needs: ``device`` names it, the message is for the technician."""

    def __init__(self, device: str, message: str) -> None:
        super().__init__(f"{device}: {message}")
        self.device = device
        self.message = message
