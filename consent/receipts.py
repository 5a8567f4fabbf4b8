"""Receipts: what somebody said, as ISO/IEC TS 27560 in the terms of the Data Privacy Vocabulary, signed by the workspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cdp.kernel.errors import TesseraError
from cdp.kernel.purposes import Purpose
from cdp.models.secrets import decrypted, encrypted
from cdp.models.tenancy import workspace_scope
from consent import chain, jws
from consent.models import (
    ConsentLink,
    ConsentRecord,
    ConsentState,
    ControllerDetails,
    LegalBasis,
    PurposeRule,
    SigningKey,
)
from consent.policy import PERMITTING
from consent.rights import ARTICLES, RIGHTS_BY_BASIS

SCHEMA: Final = "https://w3id.org/dpv/schema/dpv-27560"
# `@vocab` is the vocabulary of whatever has no prefix: DPV has no word for it. Terms are read as terms and not as texts.
CONTEXT: Final = {
    "@vocab": "urn:tessera:consent:",
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "loc": "https://w3id.org/dpv/loc#",
    "dct": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "schema": "https://schema.org/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    **{f"dpv:{name}": {"@type": "@id"} for name in ("hasLegalBasis", "hasJurisdiction", "isIndicatedBy")},
    **{f"dct:{name}": {"@type": "xsd:dateTime"} for name in ("created", "date", "dateAccepted")},
    "dct:conformsTo": {"@type": "@id"},
    "skos:broader": {"@type": "@id"},
    "dpv:isIndicatedAtTime": {"@type": "xsd:dateTime"},
}
# The profile writes of ConsentTerminated, which the vocabulary itself does not have: that somebody other than the person
# ended a consent is ConsentRevoked there.
STATUS: Final[Mapping[str, str]] = {
    ConsentState.GIVEN: "dpv:ConsentGiven",
    ConsentState.RENEWED: "dpv:RenewedConsentGiven",
    ConsentState.UNKNOWN: "dpv:ConsentUnknown",
    ConsentState.REQUESTED: "dpv:ConsentRequested",
    ConsentState.DEFERRED: "dpv:ConsentRequestDeferred",
    ConsentState.REFUSED: "dpv:ConsentRefused",
    ConsentState.WITHDRAWN: "dpv:ConsentWithdrawn",
    ConsentState.EXPIRED: "dpv:ConsentExpired",
    ConsentState.TERMINATED: "dpv:ConsentRevoked",
    ConsentState.INVALIDATED: "dpv:ConsentInvalidated",
}
BASIS: Final[Mapping[str, str]] = {
    LegalBasis.CONSENT: "eu-gdpr:A6-1-a",
    LegalBasis.CONTRACT: "eu-gdpr:A6-1-b",
    LegalBasis.LEGAL_OBLIGATION: "eu-gdpr:A6-1-c",
    LegalBasis.VITAL_INTERESTS: "eu-gdpr:A6-1-d",
    LegalBasis.PUBLIC_INTEREST: "eu-gdpr:A6-1-e",
    LegalBasis.LEGITIMATE_INTEREST: "eu-gdpr:A6-1-f",
}


EXPLICIT_CONSENT: Final = "eu-gdpr:A9-2-a"
# What kind of purpose it is, where the vocabulary has a word that says neither more nor less.
BROADER: Final[Mapping[str, str]] = {
    Purpose.ADVERTISING: "dpv:TargetedAdvertising",
    Purpose.ANALYTICS: "dpv:ServiceUsageAnalytics",
}
# Whoever asks, defers, lets run out or ends a consent is the controller; all else the person says.
SAID_BY_THE_CONTROLLER: Final = frozenset(
    {
        ConsentState.REQUESTED,
        ConsentState.DEFERRED,
        ConsentState.EXPIRED,
        ConsentState.TERMINATED,
        ConsentState.INVALIDATED,
    }
)


class UnknownReceiptError(TesseraError):
    """There is no such record in the ledger of this workspace."""

    code = "unknown_receipt"


@dataclass(frozen=True, slots=True)
class Signed:
    """`jws` is compact, and its payload is `document`."""

    document: dict[str, Any]
    jws: str


def receipt(*, workspace_id: int, record_id: int, now: datetime) -> Signed:
    """The receipt of one record. The person is named by the keyed digest: the value is not in the ledger."""
    with workspace_scope(workspace_id):
        record = _record(workspace_id, record_id)
        rule = PurposeRule.objects.filter(
            workspace_id=workspace_id, purpose=record.purpose, fingerprint=record.rule
        ).first()
        place = ConsentLink.objects.filter(pk=record_id).first()
        details = ControllerDetails.objects.filter(workspace_id=workspace_id).first()
        document = _document(record, rule.rule if rule else {}, place, _controller(record, details), now)
    return _signed(workspace_id, document, now)


def signed_head(*, workspace_id: int, now: datetime) -> Signed:
    """What the ledger is now: published somewhere else, it proves later that nothing was cut off."""
    with workspace_scope(workspace_id):
        head = chain.head(workspace_id)
    return _signed(workspace_id, {"position": head.position, "hash": head.hash, "at": now.isoformat()}, now)


def public_keys(*, workspace_id: int) -> list[dict[str, str]]:
    """All that ever signed, as JWK."""
    with workspace_scope(workspace_id):
        keys = SigningKey.objects.filter(workspace_id=workspace_id).order_by("pk").values_list("kid", "public")
        return [{**jws.jwk(bytes(public)), "kid": kid, "alg": "EdDSA", "use": "sig"} for kid, public in keys]


def _record(workspace_id: int, record_id: int) -> ConsentRecord:
    records = ConsentRecord.objects.select_related("notice", "workspace", "source")
    found = records.filter(workspace_id=workspace_id, pk=record_id).first()
    if found is None:
        raise UnknownReceiptError
    return found


Node = dict[str, Any]


def _document(
    record: ConsentRecord, rule: Mapping[str, Any], place: ConsentLink | None, controller: Node, now: datetime
) -> Node:
    return {
        "@context": CONTEXT,
        "@type": "dpv:ConsentReceipt",
        "dct:conformsTo": SCHEMA,
        "dpv:hasIdentifier": f"{record.workspace.slug}/{record.pk}",
        "dct:created": now.isoformat(),
        "dpv:hasRecordOfActivity": [_consent_record(record, rule, controller)],
        "ledger": None if place is None else {"position": place.position, "hash": bytes(place.hash).hex()},
    }


def _consent_record(record: ConsentRecord, rule: Mapping[str, Any], controller: Node) -> Node:
    return {
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": f"{SCHEMA}#record",
        "dct:identifier": str(record.pk),
        "dpv:hasDataSubject": {"@type": "dpv:DataSubject", "dct:identifier": bytes(record.identifier_digest).hex()},
        "dpv:hasDataController": controller,
        "dpv:hasNotice": _notice(record),
        "dpv:hasProcess": _process(record, rule, controller),
        "dpv:hasConsentStatus": _status(record),
        "dct:dateAccepted": record.recorded_at.isoformat(),
    }


def _controller(record: ConsentRecord, details: ControllerDetails | None) -> Node:
    return {
        "@type": "dpv:DataController",
        "dpv:hasIdentifier": record.workspace.slug,
        "dpv:hasName": details.controller if details else record.workspace.name,
        "dpv:hasAddress": details.address or None if details else None,
        "dpv:hasContact": details.contact or None if details else None,
    }


def _status(record: ConsentRecord) -> Node:
    said_by = "dpv:DataController" if record.state in SAID_BY_THE_CONTROLLER else "dpv:DataSubject"
    return {
        "@type": STATUS[record.state],
        "dpv:isIndicatedAtTime": record.occurred_at.isoformat(),
        "dpv:isIndicatedBy": said_by,
        "dpv:hasDuration": _duration(record),
        "dpv:hasIndicationMethod": record.source.name if record.source else None,
        "verified": record.is_verified,
    }


def _duration(record: ConsentRecord) -> Node:
    if record.expires_at:
        return {"@type": "dpv:UntilTimeDuration", "rdf:value": record.expires_at.isoformat()}
    until = "withdrawal" if record.state in PERMITTING else "the next statement"
    return {"@type": "dpv:UntilEventDuration", "rdf:value": until}


def _notice(record: ConsentRecord) -> Node | None:
    if record.notice is None:
        return None
    return {
        "@type": "dpv:ConsentNotice",
        "dct:identifier": f"{record.notice.key}/{record.notice.version}",
        "dct:date": record.notice.valid_from.isoformat(),
        "dct:language": record.notice.locale,
        "dct:description": record.notice.text,
        "sha256": record.notice.digest,
    }


def _process(record: ConsentRecord, rule: Mapping[str, Any], controller: Node) -> Node:
    basis, is_special = rule.get("legal_basis", ""), rule.get("is_special", False)
    recipient = {"@type": "dpv:Recipient", "dpv:hasName": record.recipient} if record.recipient else controller
    return {
        "@type": "dpv:Process",
        "dpv:hasPurpose": _purpose(record.purpose),
        "dpv:hasLegalBasis": _bases(basis, is_special=is_special),
        "dpv:hasPersonalData": _personal_data(rule.get("data_categories", []), is_special=is_special),
        "dpv:hasStorageCondition": _storage(rule.get("retention_days")),
        "dpv:hasRecipient": recipient,
        "dpv:hasConsentControl": _control(basis, controller),
        "dpv:hasRight": [_right(article, controller) for article in _articles(basis)],
        "dpv:hasJurisdiction": f"loc:{record.jurisdiction}" if record.jurisdiction else None,
        "rule": record.rule,
    }


def _purpose(purpose: str) -> Node:
    return {"@type": "dpv:Purpose", "dct:identifier": purpose, "skos:broader": BROADER.get(purpose)}


def _bases(basis: str, *, is_special: bool) -> list[str]:
    bases = [BASIS[basis]] if basis in BASIS else []
    return [*bases, EXPLICIT_CONSENT] if is_special and basis == LegalBasis.CONSENT else bases


def _personal_data(categories: list[str], *, is_special: bool) -> list[Node]:
    kind = "dpv:SpecialCategoryPersonalData" if is_special else "dpv:PersonalData"
    return [{"@type": kind, "dct:title": category} for category in categories]


def _storage(days: int | None) -> Node:
    duration: Node = {"@type": "dpv:IndeterminateDuration"}
    if days is not None:
        duration = {"@type": "dpv:TemporalDuration", "rdf:value": f"P{days}D"}
    return {"@type": "dpv:StorageDuration", "dpv:hasDuration": duration}


def _control(basis: str, controller: Node) -> Node | None:
    if basis != LegalBasis.CONSENT:
        return None
    return {"@type": "dpv:WithdrawConsent", "dpv:isExercisedAt": controller["dpv:hasContact"]}


def _right(article: str, controller: Node) -> Node:
    return {
        "@type": ["dpv:DataSubjectRight", f"eu-gdpr:A{article}"],
        "dpv:isExercisedAt": controller["dpv:hasContact"],
    }


def _articles(basis: str) -> list[str]:
    """As DPV numbers them: 7(3) is A7-3."""
    rights = RIGHTS_BY_BASIS.get(basis, frozenset())
    return [ARTICLES[right].replace("(", "-").rstrip(")") for right in sorted(rights)]


def _signed(workspace_id: int, document: dict[str, Any], now: datetime) -> Signed:
    key = _signing_key(workspace_id, now)
    private = bytes.fromhex(decrypted(key.private)["private"])
    return Signed(document, jws.sign(document, private=private, kid=key.kid))


def _signing_key(workspace_id: int, now: datetime) -> SigningKey:
    """The newest; two that are made at once are both published."""
    with workspace_scope(workspace_id):
        newest = SigningKey.objects.filter(workspace_id=workspace_id).order_by("-pk").first()
        return newest or _new_key(workspace_id, now)


def _new_key(workspace_id: int, now: datetime) -> SigningKey:
    made = Ed25519PrivateKey.generate()
    public = made.public_key().public_bytes_raw()
    return SigningKey.objects.create(
        workspace_id=workspace_id,
        kid=jws.thumbprint(public),
        public=public,
        private=encrypted({"private": made.private_bytes_raw().hex()}),
        created_at=now,
    )
