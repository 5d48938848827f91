"""What a Patient resource says about a person: enough to find or make the person at identity."""

import calendar
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

IDENTIFIERS_MAX = 20
TEXT_MAX = 200
"""Limits of identity's own door (`PersonPush`)."""

AREA_EXTENSION = "urn:huimin:ext:area"
"""On an Address: the area's code of GB/T 2260, as valueCode or as a Coding."""

_AREA = re.compile(r"[1-9][0-9]{5}(?:[0-9]{3}){0,2}")
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
        "area": _area(patient),
        "phone": _phone(patient),
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


def _area(patient: dict[str, Any]) -> str | None:
    """Where the person lives, if an address in use states the area's code: names of areas are not unique."""
    current = [one for one in patient.get("address", ()) if one.get("use") != "old"]
    for address in sorted(current, key=lambda one: one.get("use") != "home"):
        for extension in address.get("extension", ()):
            if extension.get("url") == AREA_EXTENSION:
                code = extension.get("valueCode") or extension.get("valueCoding", {}).get("code") or ""
                if _AREA.fullmatch(code):
                    return str(code)
    return None


def _phone(patient: dict[str, Any]) -> str | None:
    """A telephone number of the person's own, a mobile one first. Children of one birth share their
    mother's: it would speak for their being one."""
    if patient.get("multipleBirthBoolean") is True or "multipleBirthInteger" in patient:
        return None
    return next((value for _, value in sorted(_phones(patient), key=lambda phone: phone[0])), None)


def _phones(patient: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    for telecom in patient.get("telecom", ()):
        value = str(telecom.get("value") or "").strip()
        current = telecom.get("system") in {"phone", "sms"} and telecom.get("use") != "old"
        if current and 0 < len(value) <= TEXT_MAX:
            yield telecom.get("use") != "mobile", value


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
