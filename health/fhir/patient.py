"""What a Patient resource says about a person: enough to find or make the person at identity."""

import calendar
import re
from datetime import date
from typing import Any

IDENTIFIERS_MAX = 20
TEXT_MAX = 200
"""Limits of identity's own door (`PersonPush`)."""

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


def person_of(patient: dict[str, Any]) -> dict[str, Any]:
    """The facts for identity; `paths` says where each identifier stands in the resource."""
    identifiers: list[dict[str, str]] = []
    paths: list[str] = []
    for i, identifier in enumerate(patient.get("identifier", ())):
        system, value = identifier.get("system", "").strip(), identifier.get("value", "").strip()
        fits = 0 < len(system) <= TEXT_MAX and 0 < len(value) <= TEXT_MAX
        if fits and len(identifiers) < IDENTIFIERS_MAX:
            identifiers.append({"system": system, "value": value})
            paths.append(f"identifier[{i}].value")
    facts = {
        "name": _name(patient),
        "birth_date": _whole_date(patient.get("birthDate")),
        "sex": patient.get("gender"),
        "death_date": death_date(patient),
    }
    return {
        "identifiers": identifiers,
        "paths": paths,
        "deceased": _deceased(patient),
        **{name: value for name, value in facts.items() if value is not None},
    }


def _deceased(patient: dict[str, Any]) -> bool:
    return patient.get("deceasedBoolean") is True or "deceasedDateTime" in patient


def death_date(patient: dict[str, Any]) -> str | None:
    """The day of death where it is told; the last possible one where only the month or year is.

    Benefits are checked against this day, so what is not known counts for the citizen. The day is the one
    written, in the zone it is written in.
    """
    found = _DATE.match(patient.get("deceasedDateTime") or "")
    if found is None:
        return None
    year, month = int(found[1]), int(found[2] or 12)
    day = int(found[3] or calendar.monthrange(year, month)[1])
    return date(year, month, day).isoformat()


def _whole_date(written: str | None) -> str | None:
    return written if written is not None and len(written) == 10 else None


def _name(patient: dict[str, Any]) -> str | None:
    """The name as people write it: the official one if there are several, 姓 before 名 in Chinese."""
    names = sorted(patient.get("name", ()), key=lambda name: name.get("use") != "official")
    for name in names:
        family, given = name.get("family") or "", [part for part in name.get("given", ()) if part]
        chinese = any("\u3400" <= c <= "\u9fff" for c in family)
        whole = name.get("text") or (family + "".join(given) if chinese else " ".join([*given, family]))
        if whole.strip():
            return str(whole).strip()[:TEXT_MAX]
    return None
