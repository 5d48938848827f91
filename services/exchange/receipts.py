"""The receipt of a consent: the sections of ISO/IEC TS 27560 in the terms of the W3C Data Privacy Vocabulary.

The vocabulary's guide to consent records names the fields; the standard's own text was not at hand.
"""

from datetime import datetime
from typing import Any

from services.exchange import words
from services.exchange.person_shapes import Bilingual, Receipt
from services.kit.database import Row

DPV = "https://w3id.org/dpv#"
PROFILE = "https://w3id.org/dpv/schema/dpv-27560"
CONTEXT: dict[str, Any] = {
    "dpv": DPV,
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "huimin": "urn:huimin:",
    "created": {"@id": "dct:created", "@type": "xsd:dateTime"},
    "time": {"@id": "dct:date", "@type": "xsd:dateTime"},
    "valid_from": {"@id": "dct:available", "@type": "xsd:dateTime"},
    "valid_until": {"@id": "dct:valid", "@type": "xsd:dateTime"},
    "title": {"@id": "dct:title", "@container": "@language"},
    "identifier": "dct:identifier",
    "conforms_to": {"@id": "dct:conformsTo", "@type": "@id"},
    "language": "dct:language",
    "has_record": {"@id": "dpv:hasRecord", "@type": "@id"},
    "pii_principal": {"@id": "dpv:hasDataSubject", "@type": "@id"},
    "pii_controller": {"@id": "dpv:hasDataController", "@type": "@id"},
    "recipients": {"@id": "dpv:hasRecipient", "@type": "@id"},
    "purposes": {"@id": "dpv:hasPurpose", "@type": "@id"},
    "lawful_basis": {"@id": "dpv:hasLegalBasis", "@type": "@id"},
    "pii_information": {"@id": "dpv:hasPersonalData", "@type": "@id"},
    "processing": {"@id": "dpv:hasProcessing", "@type": "@id"},
    "status": {"@id": "dpv:hasStatus", "@type": "@id"},
    "events": {"@id": "dpv:hasConsentStatus", "@container": "@list"},
    "entity": {"@id": "dpv:isIndicatedBy", "@type": "@id"},
    "withdrawal_method": {"@id": "dpv:isExercisedAt", "@type": "@id"},
    "jurisdiction": {"@id": "dpv:hasJurisdiction", "@type": "@id"},
    "legal_reference": "dct:source",
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
        "conforms_to": PROFILE,
        "created": _text(row["revoked_at"] or row["given_at"]),
        "language": row["language"],
        "has_record": {
            "@id": id,
            "@type": "dpv:ConsentRecord",
            "identifier": str(row["id"]),
            "pii_principal": {"@id": f"huimin:person/{row['subject']}", "@type": "dpv:DataSubject"},
            "pii_controller": {
                "@id": f"huimin:organisation/{row['organisation']}",
                "@type": "dpv:DataController",
                "identifier": row["organisation"],
                "title": organisation.model_dump(),
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
            "processing": [f"huimin:action/{name}" for name in row["actions"]],
            "valid_from": _text(row["valid_from"]),
            "valid_until": _text(row["valid_until"]),
            "jurisdiction": "https://w3id.org/dpv/loc#CN",
            "withdrawal_method": f"{base}/me",
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
            "@type": state,
            "time": _text(at),
            "entity": {
                "@id": f"huimin:person/{by}",
                "@type": "dpv:DataSubject" if by == row["subject"] else "dpv:GuardianOfDataSubject",
            },
        }
        for state, at, by in events
    ]


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
