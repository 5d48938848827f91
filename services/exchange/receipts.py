"""The receipt of a consent: ISO/IEC TS 27560's fields in the terms of the W3C Data Privacy Vocabulary.

The members are the standard's fields, their terms those of the vocabulary's guide "Consent Records and
Receipts as per ISO/IEC TS 27560:2023" (https://w3id.org/dpv/guides/consent-27560, "Mappings of Terms"). Of
the fields that the standard asks for, storage location, retention period, and the controller's address and
contact are not said: a consent here does not settle them.
"""

from datetime import datetime
from typing import Any

from services.exchange import words
from services.exchange.person_shapes import Bilingual, Receipt
from services.kit.database import Row

DPV = "https://w3id.org/dpv#"
PROFILE = "https://w3id.org/dpv/schema/dpv-27560#"
CONTEXT: dict[str, Any] = {
    "dpv": DPV,
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "huimin": "urn:huimin:",
    "schema_version": {"@id": "dct:conformsTo", "@type": "@id"},
    "created": {"@id": "dct:created", "@type": "xsd:dateTime"},
    "receipt_id": "dct:identifier",
    "record_id": "dct:identifier",
    "has_record": {"@id": "dpv:hasRecord", "@type": "@id"},
    "pii_principal_id": {"@id": "dpv:hasDataSubject", "@type": "@id"},
    "privacy_notice": {"@id": "dpv:hasNotice", "@type": "@id"},
    "language": "dct:language",
    "purposes": {"@id": "dpv:hasPurpose", "@type": "@id"},
    "lawful_basis": {"@id": "dpv:hasLegalBasis", "@type": "@id"},
    "legal_reference": "dct:source",
    "pii_information": {"@id": "dpv:hasPersonalData", "@type": "@id"},
    "pii_controllers": {"@id": "dpv:hasDataController", "@type": "@id"},
    "processing_method": {"@id": "dpv:hasProcessing", "@type": "@id"},
    "jurisdiction": {"@id": "dpv:hasJurisdiction", "@type": "@id"},
    "withdrawal_method": {"@id": "dpv:hasConsentControl", "@type": "@id"},
    "is_exercised_at": {"@id": "dpv:isExercisedAt", "@type": "@id"},
    "party_id": "dct:identifier",
    "party_name": {"@id": "dpv:hasName", "@container": "@language"},
    "title": {"@id": "dct:title", "@container": "@language"},
    "identifier": "dct:identifier",
    "valid_from": {"@id": "dct:available", "@type": "xsd:dateTime"},
    "valid_until": {"@id": "dct:valid", "@type": "xsd:dateTime"},
    "status": {"@id": "dpv:hasStatus", "@type": "@id"},
    "events": {"@id": "huimin:consentEvents", "@container": "@list"},
    "event_time": {"@id": "dct:date", "@type": "xsd:dateTime"},
    "validity_duration": {"@id": "dct:valid", "@type": "xsd:dateTime"},
    "entity_id": {"@id": "dpv:isImplementedByEntity", "@type": "@id"},
    "event_type": {"@id": "dpv:hasLegalBasis", "@type": "@id"},
    "event_state": {"@id": "dpv:hasConsentStatus", "@type": "@id"},
}


def receipt(row: Row, organisation: Bilingual, base: str) -> Receipt:
    """The consent as it stands now, for its person to keep.

    Args:
        row: of the table `consent`, with `in_force`.
        base: the suite's public origin.
    """
    id = f"urn:uuid:{row['id']}"
    purpose = words.of_purpose(row["purpose"])
    return {
        "@context": CONTEXT,
        "@id": f"{id}#receipt",
        "@type": "dpv:ConsentReceipt",
        "schema_version": f"{PROFILE}receipt-record",
        "receipt_id": f"{row['id']}#receipt",
        "created": _text(row["revoked_at"] or row["given_at"]),
        "has_record": {
            "@id": id,
            "@type": "dpv:ConsentRecord",
            "schema_version": f"{PROFILE}record",
            "record_id": str(row["id"]),
            "pii_principal_id": {
                "@id": f"huimin:person/{row['subject']}",
                "@type": "dpv:DataSubject",
                "identifier": row["subject"],
            },
            "privacy_notice": {"@id": f"{base}/me/consents", "@type": "dpv:ConsentNotice"},
            "language": row["language"],
            "pii_controllers": {
                "@id": f"huimin:organisation/{row['organisation']}",
                "@type": "dpv:DataController",
                "party_id": row["organisation"],
                "party_name": organisation.model_dump(),
            },
            "purposes": {
                "@id": f"huimin:purpose/{row['purpose']}",
                "@type": "dpv:Purpose",
                "identifier": row["purpose"],
                "title": purpose.model_dump(),
            },
            "lawful_basis": {
                "@id": "dpv:Consent",
                "legal_reference": "《中华人民共和国个人信息保护法》第十三条第一款第一项、第十四条",
            },
            "pii_information": [f"huimin:dataset/{name}" for name in row["datasets"]],
            "processing_method": [f"huimin:action/{name}" for name in row["actions"]],
            "valid_from": _text(row["valid_from"]),
            "valid_until": _text(row["valid_until"]),
            "jurisdiction": "https://w3id.org/dpv/loc#CN",
            "withdrawal_method": {
                "@id": f"{id}#withdrawal",
                "@type": "dpv:WithdrawConsent",
                "is_exercised_at": f"{base}/me/consents",
            },
            "status": _status(row),
            "events": _events(row),
        },
    }


def _status(row: Row) -> str:
    if row["revoked_at"] is not None:
        return "dpv:ConsentWithdrawn"
    return "dpv:ConsentGiven" if row["in_force"] else "dpv:ConsentExpired"


def _events(row: Row) -> list[dict[str, Any]]:
    events = [("dpv:ConsentGiven", row["given_at"], row["given_by"])]
    if row["revoked_at"] is not None:
        events.append(("dpv:ConsentWithdrawn", row["revoked_at"], row["revoked_by"]))
    return [
        {
            "event_time": _text(at),
            "event_type": "dpv:ExpressedConsent",
            "event_state": state,
            "validity_duration": _text(row["valid_until"]),
            "entity_id": {
                "@id": f"huimin:person/{by}",
                "@type": "dpv:DataSubject" if by == row["subject"] else "dpv:GuardianOfDataSubject",
            },
        }
        for state, at, by in events
    ]


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
