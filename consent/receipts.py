"""Receipts: what somebody said, as ISO/IEC TS 27560 in the terms of the Data Privacy Vocabulary, signed by the workspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cdp.kernel.errors import TesseraError
from cdp.models.secrets import decrypted, encrypted
from cdp.models.tenancy import workspace_scope
from consent import chain, jws
from consent.models import ConsentLink, ConsentRecord, ConsentState, LegalBasis, PurposeRule, SigningKey

SCHEMA: Final = "https://w3id.org/dpv/schema/dpv-27560"
CONTEXT: Final = {
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "dct": "http://purl.org/dc/terms/",
}
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
        document = _document(record, rule.rule if rule else {}, place)
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


def _document(record: ConsentRecord, rule: Mapping[str, Any], place: ConsentLink | None) -> dict[str, Any]:
    return {
        "@context": CONTEXT,
        "@type": "dpv:ConsentReceipt",
        "dct:conformsTo": SCHEMA,
        "dct:identifier": f"{record.workspace.slug}/{record.pk}",
        "dct:hasPart": [_consent_record(record, rule)],
        "ledger": None if place is None else {"position": place.position, "hash": bytes(place.hash).hex()},
    }


def _consent_record(record: ConsentRecord, rule: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "dpv:ConsentRecord",
        "dct:identifier": str(record.pk),
        "dpv:hasDataSubject": {"@type": "dpv:DataSubject", "dct:identifier": bytes(record.identifier_digest).hex()},
        "dpv:hasDataController": {"@type": "dpv:DataController", "dct:title": record.workspace.name},
        "dpv:hasNotice": _notice(record),
        "dpv:hasProcess": _process(record, rule),
        "dpv:hasConsentStatus": {
            "@type": STATUS[record.state],
            "dpv:isIndicatedAtTime": record.occurred_at.isoformat(),
            "dct:valid": record.expires_at and record.expires_at.isoformat(),
            "verified": record.is_verified,
        },
        "dct:dateAccepted": record.recorded_at.isoformat(),
    }


def _notice(record: ConsentRecord) -> dict[str, Any] | None:
    if record.notice is None:
        return None
    return {
        "@type": "dpv:ConsentNotice",
        "dct:identifier": f"{record.notice.key}/{record.notice.version}",
        "dct:language": record.notice.locale,
        "dct:description": record.notice.text,
        "sha256": record.notice.digest,
    }


def _process(record: ConsentRecord, rule: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "dpv:Process",
        "dpv:hasPurpose": record.purpose,
        "dpv:hasLegalBasis": BASIS.get(rule.get("legal_basis", "")),
        "dpv:hasPersonalData": rule.get("data_categories", []),
        "specialCategories": rule.get("is_special", False),
        "dpv:hasStorageCondition": {"@type": "dpv:StorageDuration", "days": rule.get("retention_days")},
        "dpv:hasRecipient": record.recipient or None,
        "dpv:hasJurisdiction": record.jurisdiction or None,
        "rule": record.rule,
    }


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
