"""Code text to verified credential, or a refusal that says exactly why.

Life of a credential:

1. The text is taken apart (``reading``): nothing is believed yet.
2. ``iss`` names the issuer; only that issuer's keys count. Unknown issuer: refused.
3. ``kid``, ``x5t`` or a chain to a pinned root proposes at most four; ``alg`` must be the one pinned on the key.
4. The signature is checked over the received bytes. From here on the claims are the issuer's.
5. The key's own validity and withdrawal, whichever way the card led to it, then the card's validity against the
   interval that now lies in.
6. Claim 169 gets its types.

Only ``verify`` can make a ``Credential``: who holds one holds the proof of all six.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from edge.biometric.values import Reference
from edge.credential import attributes, cwt, reading
from edge.credential.attributes import Person
from edge.credential.cwt import Claims
from edge.credential.identity import Identity, form, reference
from edge.credential.reading import Reading
from edge.credential.trace import Stage, Stopwatch, Trace
from edge.errors import Reason, Refusal
from edge.trust import chain, cose
from edge.trust.encryption import ContentKey
from edge.trust.interval import Interval, Validity
from edge.trust.keys import Key
from edge.trust.list import Issuer, TrustList
from edge.trust.profile import Profile

SKEW: Final = timedelta(seconds=120)
TRIES: Final = 4
_SEAL: Final = object()


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A credential that an issuer on the trust list signed and that is not known to be expired.

    Attributes:
        issuer: as the trust list calls it.
        signer: the key that verified it.
        expires: end of its validity, with what the issuer's profile sets.
        validity: VALID, or UNSURE where the clock cannot tell; then the profile of the gate decides.
        subject: issuer and identifier (claim 169 id, else cti, else digest): keyed, this is the pseudonym in the log.
        reference: the face to compare with.
        digest: SHA-256 of protected header and payload, as they were signed.
        claims: the claims of the token.
        trace: what happened stage by stage.
        person, found, form: claim 169, the message and how claim 169 was wrapped, for what is told about them.
    """

    issuer: str
    signer: Key = field(repr=False)
    expires: datetime | None
    validity: Validity
    subject: bytes = field(repr=False)
    reference: Reference | None = field(repr=False)
    digest: bytes
    claims: Claims = field(repr=False)
    trace: tuple[Stage, ...]
    person: Person = field(repr=False)
    found: Reading = field(repr=False)
    form: str = field(repr=False)
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only verify() makes a Credential")

    @property
    def kid(self) -> str:
        """Key identifier of the credential, hexadecimal; empty where it has none."""
        return (self.found.message.kid or b"").hex()

    @property
    def key(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo of the key that verified it."""
        return self.signer.thumbprint

    @property
    def alg(self) -> str:
        """JOSE name of the algorithm."""
        return self.signer.algorithm.jose

    @property
    def issued(self) -> datetime | None:
        """When it was issued."""
        return self.claims.iat

    @property
    def not_before(self) -> datetime | None:
        """From when on it is valid."""
        return self.claims.nbf

    @property
    def identity(self) -> Identity:
        """Claim 169, typed."""
        return self.person.identity

    @cached_property
    def dialect(self) -> str:
        """How it is written."""
        return ", ".join((*self.found.dialect, self.form, *form(self.person.faces)))

    @cached_property
    def flags(self) -> frozenset[str]:
        """What was unusual: "kid-unprotected", "time-unsure", ..."""
        unsure = {"time-unsure"} if self.validity is Validity.UNSURE else set()
        return self.identity.notes | self.found.notes | unsure


def verify(
    text: str,
    trust: TrustList,
    now: Interval,
    skew: timedelta = SKEW,
    *,
    content_keys: Sequence[ContentKey] = (),
    audience: str | None = None,
    prefixes: tuple[str, ...] = (),
    stopwatch: Stopwatch | None = None,
    trace: Trace | None = None,
) -> Credential:
    """Verify a code.

    Args:
        text: as read from the code.
        trust: issuers and their keys.
        now: the interval that now lies in.
        skew: allowance at both edges of a validity.
        content_keys: keys for encrypted credentials.
        audience: who this gate is; a credential for somebody else is refused.
        prefixes: beginnings that issuers known to this gate put before the Base45.
        stopwatch: seconds, for the trace.
        trace: a trace of the caller's, which keeps the stages passed before a refusal.

    Raises:
        Refusal: nothing else is ever raised for a text.
    """
    trace = trace or Trace(stopwatch)
    found = reading.read(text, trace, prefixes, content_keys)
    issuer = _issuer(found, trust)
    _excused(found.notes, issuer.profile)
    if issuer.profile.encrypted and not found.encrypted:
        raise Refusal(Reason.UNSUPPORTED, "this issuer encrypts its cards, and this one is not")
    keys = _signing_keys(found, issuer, now, skew)
    key = keys[0]
    trace.passed("signature", len(found.message.payload), len(found.message.signatures))
    claims = cwt.claims(found.claims)
    for one in keys:
        _key_valid(one, issuer, claims, now)
    expires, validity = _valid(claims, issuer.profile, now, skew)
    if audience is not None and claims.aud and audience not in claims.aud:
        raise Refusal(Reason.WRONG_AUDIENCE)
    inner, wrapped = attributes.unwrap(claims.identity, found.notes)
    _excused(found.notes, issuer.profile)
    person = Person(inner, issuer.profile)
    digest = found.message.digest
    trace.passed("identity", len(found.message.payload), len(inner))
    return Credential(
        issuer=issuer.name,
        signer=key,
        expires=expires,
        validity=validity,
        subject=_subject(issuer, person, claims, digest),
        reference=reference(person.faces),
        digest=digest,
        claims=claims,
        trace=tuple(trace.stages),
        person=person,
        found=found,
        form=wrapped,
        seal=_SEAL,
    )


def _issuer(found: Reading, trust: TrustList) -> Issuer:
    iss = found.claims.get(cwt.ISS)
    if not isinstance(iss, str) and cwt.ISS in found.claims:
        raise Refusal(Reason.BAD_CLAIM, "iss is not text")
    issuer = trust.issuer(iss)
    if issuer is None:
        raise Refusal(Reason.UNKNOWN_ISSUER, "" if iss else "the credential names no issuer")
    return issuer


def _excused(notes: Set[str], profile: Profile) -> None:
    """Hold oddities against the issuer's profile."""
    if not notes:
        return
    if "trailing" in notes and not profile.trailing:
        raise Refusal(Reason.UNREADABLE, "bytes after the end, and the issuer's profile does not excuse them")
    if "indefinite" in notes and not profile.indefinite:
        raise Refusal(Reason.UNREADABLE, "CBOR of indefinite length, and the issuer's profile does not excuse it")


def _signing_keys(found: Reading, issuer: Issuer, now: Interval, skew: timedelta) -> list[Key]:
    """The keys of that issuer that signed: one, or as many different ones as its profile asks for.

    Of several signers those unknown here are passed over; a known one whose signature is bad refuses the card.
    """
    if len(found.message.signatures) == issuer.profile.signers == 1:
        return [_signing_key(found, found.message.signatures[0], issuer, now, skew)]
    keys: list[Key] = []
    first: Refusal | None = None
    for signature in found.message.signatures:
        try:
            key = _signing_key(found, signature, issuer, now, skew)
        except Refusal as refusal:
            if refusal.reason is Reason.BAD_SIGNATURE:
                raise
            first = first or refusal
            continue
        if all(key.thumbprint != other.thumbprint for other in keys):
            keys.append(key)
    if len(keys) < issuer.profile.signers:
        raise first or Refusal(Reason.BAD_SIGNATURE, "fewer signers than the issuer's profile asks for")
    return keys


def _signing_key(found: Reading, signature: cose.Signature, issuer: Issuer, now: Interval, skew: timedelta) -> Key:
    """The key of that issuer whose signature this is."""
    algorithm = signature.algorithm
    candidates = _candidates(signature, issuer, now, skew)
    if not candidates:
        expires = cwt.moment(found.claims.get(cwt.EXP), "exp")
        if now.within(None, expires, skew) is Validity.EXPIRED:
            raise Refusal(Reason.EXPIRED, "and its key is not on the list any more")
        raise Refusal(Reason.UNKNOWN_KEY)
    agreeing = [key for key in candidates if key.algorithm is algorithm][:TRIES]
    if not agreeing:
        raise Refusal(Reason.BAD_SIGNATURE, f"{algorithm.jose} is not the algorithm of that key")
    if algorithm.by_name_only and algorithm.jose not in issuer.profile.allow:
        raise Refusal(Reason.UNSUPPORTED, f"{algorithm.jose} is not allowed for this issuer")
    for key in agreeing:
        if found.message.verifies(signature, key, der=issuer.profile.der_signatures):
            return key
    raise Refusal(Reason.BAD_SIGNATURE)


def _candidates(signature: cose.Signature, issuer: Issuer, now: Interval, skew: timedelta) -> tuple[Key, ...]:
    """Keys that the headers may mean: by ``kid``, by ``x5t``, by a chain to a root pinned for this issuer."""
    kid = signature.kid
    found = () if kid is None else issuer.candidates(kid)
    if found:
        return found
    x5t, sent = signature.header(cose.X5T), signature.header(cose.X5CHAIN)
    if kid is None and x5t is None and sent is None:
        return issuer.candidates(None)
    digest = chain.digest_in(x5t)
    if digest is not None:
        found = tuple(key for key in issuer.keys if digest in key.aliases)
    if not found and sent is not None and issuer.roots:
        names = () if issuer.profile.own_roots else issuer.names
        key = chain.key_of_chain(sent, x5t, issuer.roots, names, now, skew)
        found = issuer.pins(key) or (key,)
    return found


def _key_valid(key: Key, issuer: Issuer, claims: Claims, now: Interval) -> None:
    """Hold a key to what any of its entries says of it, whichever of them, or of its certificates, a card named."""
    pins = issuer.pins(key) or (key,)
    since = min((pin.compromised_since for pin in pins if pin.compromised_since is not None), default=None)
    if since is not None and (claims.iat is None or claims.iat >= since):
        raise Refusal(Reason.KEY_WITHDRAWN, "signed after the key was compromised, or without a date")
    not_after = max((pin.not_after for pin in pins if pin.not_after is not None), default=None)
    if not_after is not None and now.lower > not_after:
        raise Refusal(Reason.KEY_WITHDRAWN, "the key's validity has ended")
    not_before = min((pin.not_before for pin in pins if pin.not_before is not None), default=None)
    if not_before is not None and claims.iat is not None and claims.iat < not_before:
        raise Refusal(Reason.KEY_WITHDRAWN, "signed before the key's validity began")


def _valid(claims: Claims, profile: Profile, now: Interval, skew: timedelta) -> tuple[datetime | None, Validity]:
    """The end of validity that counts, and where now stands against it."""
    expires = claims.exp
    if profile.max_age_days is not None:
        if claims.iat is None:
            raise Refusal(Reason.BAD_CLAIM, "no iat, and the issuer's profile limits the age")
        expires = min(claims.exp or datetime.max.replace(tzinfo=UTC), claims.iat + timedelta(profile.max_age_days))
    if claims.exp is None and not profile.no_expiry:
        raise Refusal(Reason.BAD_CLAIM, "no exp")
    validity = now.within(claims.nbf, expires, skew)
    if validity is Validity.EXPIRED:
        raise Refusal(Reason.EXPIRED)
    if validity is Validity.NOT_YET:
        raise Refusal(Reason.NOT_YET_VALID)
    if claims.iat is not None and now.upper is not None and claims.iat > now.upper + skew:
        raise Refusal(Reason.NOT_YET_VALID, "issued in the future")
    return expires, validity


def _subject(issuer: Issuer, person: Person, claims: Claims, digest: bytes) -> bytes:
    own = person.id.encode() if person.id else claims.cti or digest
    return issuer.name.encode() + b"\x00" + own
