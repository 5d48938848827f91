"""An access leaf as an AuditEvent, in the form of IHE's Basic Audit Log Patterns (BALP 1.1).

Nothing is kept twice: the leaf is the record, and proven by the log that it stands in (services/audit).
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from health import repository
from health.fhir import references
from services.kit import purposes
from services.kit.purposes import words_of

_TERMS = "http://terminology.hl7.org/CodeSystem"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_EXTENSION = "urn:huimin:ext:"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_URI = "urn:ietf:rfc:3986"
ACTION_SYSTEM = "urn:huimin:access-action"
"""System of the suite's own words for what was done (`subtype`)."""
CLIENT_SYSTEM = "urn:huimin:id:client"
ACCOUNT_SYSTEM = "urn:huimin:id:account"

REST: Mapping[str, tuple[str, str]] = {
    # By the leaf's action: AuditEvent.action, and the interaction of FHIR's RESTful API.
    "fhir.read": ("R", "read"),
    "fhir.vread": ("R", "vread"),
    "fhir.history": ("R", "history"),
    "fhir.search": ("E", "search-type"),
    "fhir.count": ("E", "search-type"),
    "fhir.create": ("C", "create"),
    "fhir.update": ("U", "update"),
    "fhir.subscription": ("U", "update"),
    "fhir.patch": ("U", "patch"),
    "fhir.delete": ("D", "delete"),
    "fhir.transaction": ("E", "transaction"),
    "fhir.batch": ("E", "batch"),
}
_READING = {"health.record.read": "R", "access_reviews.read": "R", "accesses.read": "R", "dataset.read": "R"}
_PROFILES = {"read": "Read", "vread": "Read", "search-type": "Query", "create": "Create", "update": "Update",
             "delete": "Delete"}  # fmt: skip

PURPOSES: Mapping[str, str] = {
    # In HL7's words (v3-ActReason).
    purposes.TREATMENT: "TREAT",
    purposes.EMERGENCY: "ETREAT",
    purposes.PUBLIC_HEALTH: "PUBHLTH",
    purposes.BENEFIT_ADMINISTRATION: "HPAYMT",
    purposes.BENEFIT_AUDIT: "HPAYMT",
    purposes.RESEARCH: "HRESCH",
    purposes.OPERATIONS: "HOPERAT",
    purposes.OWN_RECORDS: "PATRQT",
    purposes.REGISTRATION: "PATADMIN",
}
PERMITTED, REFUSED = "0", "4"


def action_of(action: str) -> str:
    """C, R, U, D or E, of a leaf's action."""
    return REST[action][0] if action in REST else _READING.get(action, "E")


def actions_that(codes: Iterable[str]) -> tuple[tuple[str, ...], bool]:
    """Actions of leaves, one of which (true) or none of which (false) a leaf has whose AuditEvent has one of
    these codes (C, R, U, D, E): whatever is not known to be something else was executed (E)."""
    wanted = frozenset(codes)
    told = [a for a in (*REST, *_READING) if action_of(a) != "E"]
    if "E" in wanted:
        return tuple(a for a in told if action_of(a) not in wanted), False
    return tuple(a for a in told if action_of(a) in wanted), True


def audit_event(
    seq: int, at: datetime, leaf: Mapping[str, Any], patients: Sequence[str], *, base: str
) -> dict[str, Any]:
    """The AuditEvent of a leaf.

    Args:
        leaf: its body.
        patients: whom it is about, as `Patient/id`, as far as the reader may know.
        base: this server's base URL with a slash at its end.
    """
    action = leaf["action"]
    code, interaction = REST.get(action, (action_of(action), None))
    outcome = PERMITTED if leaf.get("outcome", "permitted") == "permitted" else REFUSED
    profile = _profile(interaction, outcome, patients)
    found: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": f"{references.LEAF_ID}{seq}",
        "meta": {"profile": [profile]} if profile else None,
        "extension": _extensions(leaf),
        "type": _type(action),
        "subtype": [
            *(
                [{"system": "http://hl7.org/fhir/restful-interaction", "code": interaction}]
                if interaction
                else ()
            ),
            {"system": ACTION_SYSTEM, "code": action},
        ],
        "action": code,
        "recorded": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "outcome": outcome,
        "outcomeDesc": leaf.get("reason"),
        "purposeOfEvent": _purpose(leaf),
        "agent": _agents(leaf, interaction, base),
        "source": {
            "observer": {"identifier": {"system": _URI, "value": base}, "display": "Huimin 惠民 health"},
            "type": [
                {"system": f"{_TERMS}/security-source-type", "code": "4", "display": "Application Server"}
            ],
        },
        "entity": _entities(leaf, interaction, patients, base),
    }
    return {name: value for name, value in found.items() if value}


def _profile(interaction: str | None, outcome: str, patients: Sequence[str]) -> str | None:
    """BALP has profiles for what succeeded, about nobody or about one patient."""
    name = _PROFILES.get(interaction or "")
    if name is None or outcome != PERMITTED or len(patients) > 1:
        return None
    return f"{_PROFILE}{'Patient' if patients else ''}{name}"


def _type(action: str) -> dict[str, str]:
    if action in REST:
        return {"system": f"{_TERMS}/audit-event-type", "code": "rest", "display": "RESTful Operation"}
    if action == "break_glass":
        return {"system": _DCM, "code": "110113", "display": "Security Alert"}
    return {"system": _DCM, "code": "110110", "display": "Patient Record"}


def _extensions(leaf: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = (("records", "valueInteger"), ("relation", "valueCode"), ("legal_basis", "valueString"),
            ("agreement", "valueString"), ("subjects_count", "valueInteger"))  # fmt: skip
    return [
        {"url": _EXTENSION + name.replace("_", "-"), member: leaf[name]}
        for name, member in told
        if leaf.get(name) is not None
    ]


def _purpose(leaf: Mapping[str, Any]) -> list[dict[str, Any]]:
    purpose = leaf.get("purpose")
    if purpose is None:
        return []
    code = "BTG" if leaf.get("relation") == "break_glass" else PURPOSES.get(purpose)
    coding = [{"system": f"{_TERMS}/v3-ActReason", "code": code}] if code else []
    words = words_of(purpose)
    return [{"coding": [*coding, {"system": "urn:huimin:purpose", "code": purpose, "display": words.en}],
             "text": words.zh}]  # fmt: skip


def _agents(leaf: Mapping[str, Any], interaction: str | None, base: str) -> list[dict[str, Any]]:
    """The client, this server, the person at the keyboard and the organisation acted for."""
    # Data comes from the server in a read; in all else, a query too, something comes from the client.
    reading = interaction in {"read", "vread", "history"}
    source, destination = _coded(_DCM, "110153"), _coded(_DCM, "110152")
    client, actor, organisation = leaf.get("client"), leaf.get("actor"), leaf.get("organisation")
    person = actor if actor != client else None
    found: list[dict[str, Any]] = [
        {
            "type": destination if reading else source,
            "who": _who(CLIENT_SYSTEM, client) if client else {"display": "unknown"},
            "requestor": person is None,
            # Where a client calls from is not kept.
            "network": {"_address": {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}},
        },
        {
            "type": source if reading else destination,
            "who": _who(_URI, base),
            "requestor": False,
            "network": {"address": base, "type": "5"},
        },
    ]
    participation = f"{_TERMS}/v3-ParticipationType"
    if person is not None:
        role = "AUT" if action_of(leaf["action"]) in "CUD" else "IRCP"
        found.append(
            {"type": _coded(participation, role), "who": _who(ACCOUNT_SYSTEM, person), "requestor": True}
        )
    if organisation is not None:
        who = {"type": "Organization", **_who(repository.ORGANISATION_CODE, organisation)}
        found.append({"type": _coded(participation, "RESP"), "who": who, "requestor": False})
    return found


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _who(system: str, value: str) -> dict[str, Any]:
    return {"identifier": {"system": system, "value": value}}


def _entities(
    leaf: Mapping[str, Any], interaction: str | None, patients: Sequence[str], base: str
) -> list[dict[str, Any]]:
    found = [_entity("1", "1", what={"reference": patient}) for patient in patients]
    resource = leaf.get("resource")
    if resource is not None and interaction == "search-type":
        query = base64.b64encode(f"GET {base}{resource}".encode()).decode()
        found.append(_entity("2", "24", query=query))
    elif resource is not None and (local := references.LOCAL.match(resource)):
        found.append(_entity("2", "4", what={"reference": local[0]}, description=resource))
    elif resource is not None:
        found.append(_entity("2", "4", what={"display": resource}))
    if leaf.get("trace") is not None:
        kind = {"system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
                "code": "XrequestId"}  # fmt: skip
        found.append({"type": kind, "what": {"identifier": {"value": leaf["trace"]}}})
    return found


def _entity(type: str, role: str, **said: Any) -> dict[str, Any]:
    return {
        "type": {"system": f"{_TERMS}/audit-entity-type", "code": type},
        "role": {"system": f"{_TERMS}/object-role", "code": role},
        **said,
    }
