"""A person's health record, as an app shows it: a few plain facts of each resource."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from health import repository
from health.keys import token_key_asked
from health.reaching import Reach
from health.repository import fitting
from health.shapes import WITH_CODE, Code, Component, Record, RecordPage, RecordQuery, Value
from services.kit.cursors import decode_cursor, encode_cursor, whole_number
from services.kit.database import Connection, Row
from services.kit.problems import Fault, bad_request

_DATES = {
    "AllergyIntolerance": ("onsetDateTime", "recordedDate"),
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod", "issued"),
    "Encounter": ("period",),
    "Immunization": ("occurrenceDateTime",),
    "MedicationRequest": ("authoredOn",),
    "Observation": ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"),
    "Patient": (),
    "Procedure": ("performedDateTime", "performedPeriod"),
}
_CODES = {
    "Encounter": "type",
    "Immunization": "vaccineCode",
    "MedicationRequest": "medicationCodeableConcept",
    "Patient": "maritalStatus",
}
_STATUS = {"Condition": "clinicalStatus", "AllergyIntolerance": "clinicalStatus"}
_ORGANISATION = {"Encounter": "serviceProvider", "Patient": "managingOrganization"}


async def page(
    db: Connection, reach: Reach, query: RecordQuery, *, patient: int | None = None
) -> tuple[RecordPage, list[Row]]:
    """One page of a person's record as far as the caller may see it, and the rows it was made of.

    Args:
        patient: key of the person's Patient, where the reach does not say whose record.

    Raises:
        Problem: 400 for a cursor or a code that cannot be.
    """
    before = None
    if query.after is not None:
        before = _position(query.after)
    rows = await repository.timeline(
        db,
        reach,
        patient=patient,
        types=query.types,
        hashes=_hashes(query),
        before=before,
        limit=query.first + 1,
    )
    shown = fitting.page(rows, query.first)
    bodies = [_parsed(row) for row in shown]
    names = await _organisations(db, bodies)
    following = encode_cursor(shown[-1]["occurred"], shown[-1]["pk"]) if len(rows) > len(shown) else None
    return RecordPage(items=[_record(body, names) for body in bodies], next=following), shown


def _position(cursor: str) -> tuple[int, int]:
    occurred, pk = decode_cursor(cursor, 2)
    return whole_number(occurred), whole_number(pk)


def _hashes(query: RecordQuery) -> list[int] | None:
    if query.code is None:
        return None
    without = [type for type in query.types if type not in WITH_CODE]
    if without:
        words = f"{', '.join(without)} cannot be asked for by code"
        raise bad_request("code_not_possible", words, Fault(words, field="code"))
    system, bar, code = query.code.rpartition("|")
    if bar and not code:
        raise bad_request("invalid_code", "write code or system|code", Fault("no code", field="code"))
    return [token_key_asked(type, "code", system if bar else None, code) for type in query.types]


def _parsed(row: Row) -> dict[str, Any]:
    # Decimals stay as they were written.
    body: dict[str, Any] = json.loads(row["body"], parse_float=str)
    return body


async def _organisations(db: Connection, bodies: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Names of the organisations that the records name by reference only."""
    wanted = {
        reference
        for body in bodies
        if (reference := (_organisation_of(body) or {}).get("reference", "")).startswith("Organization/")
    }
    if not wanted:
        return {}
    return await repository.names(db, wanted)


def _organisation_of(body: dict[str, Any]) -> dict[str, Any] | None:
    kind = body["resourceType"]
    if kind in _ORGANISATION:
        found: dict[str, Any] | None = body.get(_ORGANISATION[kind])
        return found
    performers = body.get("performer") or []
    for performer in performers:
        actor: dict[str, Any] = performer.get("actor", performer)
        if actor.get("reference", "").startswith("Organization/") or actor.get("display"):
            return actor
    return None


def _record(body: dict[str, Any], names: dict[str, str]) -> Record:
    kind = body["resourceType"]
    concept = _first(body.get(_CODES.get(kind, "code"))) or {}
    start, end = _when(body)
    organisation = _organisation_of(body) or {}
    return Record(
        id=body["id"],
        type=kind,
        date=start,
        end=end,
        status=_status(body),
        title=_words(concept),
        codes=_codes(concept),
        categories=[words for concept in _list(body.get("category")) if (words := _words(concept))],
        value=_value(body),
        components=[_component(component) for component in body.get("component", ())],
        organisation=organisation.get("display") or names.get(organisation.get("reference", "")),
        **_person(body),
    )


def _person(body: dict[str, Any]) -> dict[str, str | None]:
    if body["resourceType"] != "Patient":
        return {}
    name = _first(body.get("name")) or {}
    parts = [*(part for part in name.get("given", ()) if part), name.get("family") or ""]
    return {
        "name": name.get("text") or " ".join(part for part in parts if part) or None,
        "gender": body.get("gender"),
        "birth_date": body.get("birthDate"),
        "death_date": body.get("deceasedDateTime"),
    }


def _when(body: dict[str, Any]) -> tuple[str | None, str | None]:
    for name in _DATES[body["resourceType"]]:
        value = body.get(name)
        if isinstance(value, dict):
            return value.get("start"), value.get("end")
        if isinstance(value, str):
            return value, None
    return None, None


def _status(body: dict[str, Any]) -> str | None:
    name = _STATUS.get(body["resourceType"])
    if name is None:
        return body.get("status")
    codes = _codes(body.get(name) or {})
    return codes[0].code if codes else None


def _component(component: dict[str, Any]) -> Component:
    concept = component.get("code") or {}
    return Component(title=_words(concept), codes=_codes(concept), value=_value(component))


def _value(holder: dict[str, Any]) -> Value | None:
    quantity = holder.get("valueQuantity")
    if quantity is not None:
        number = quantity.get("value")
        return Value(
            number=None if number is None else str(number), unit=quantity.get("unit") or quantity.get("code")
        )
    if "valueCodeableConcept" in holder:
        return Value(text=_words(holder["valueCodeableConcept"]))
    for name in ("valueString", "valueDateTime", "valueTime"):
        if name in holder:
            return Value(text=holder[name])
    if "valueInteger" in holder:
        return Value(number=str(holder["valueInteger"]))
    if "valueBoolean" in holder:
        return Value(text="true" if holder["valueBoolean"] else "false")
    return None


def _words(concept: dict[str, Any]) -> str | None:
    displays = [coding["display"] for coding in concept.get("coding", ()) if coding.get("display")]
    codes = [coding["code"] for coding in concept.get("coding", ()) if coding.get("code")]
    return concept.get("text") or next(iter([*displays, *codes]), None)


def _codes(concept: dict[str, Any]) -> list[Code]:
    return [
        Code(system=coding.get("system"), code=coding.get("code"), display=coding.get("display"))
        for coding in concept.get("coding", ())
    ]


def _first(value: Any) -> Any:
    found = _list(value)
    return found[0] if found else None


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
