"""Another engine of FHIRPath, fhirpathpy, asked what search parameters find: ours must find the same.

It knows neither `resolve()` nor `as` on several values; both are rewritten to what it knows.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import fhirpathpy
from fhirpathpy.models import models

from health import keys
from health.fhir.definitions import Component, Parameter, definitions
from health.fhir.extract import Rows, reader, rows_of
from health.fhir.extract.paths import Way, ways

NOT_INDEXED = "found, and not indexed"
_R4 = models["r4"]
_RESOLVES = re.compile(r"where\(\s*resolve\(\) is (\w+)\s*\)")
_LEADS_TO = (
    r"where(reference.matches('(^|/)\1/[^/]+(/_history/.+)?$')"
    r" or (reference.exists().not() and type = '\1'))"
)
_AS = re.compile(r"([\w.]+)\s+as\s+(\w+)")


def differences(resource: Any, raw: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Parameters that find something else here than there, with both in words.

    Args:
        raw: HL7's own expressions by URL, where they are at hand: of all types that a parameter is for.
    """
    kind = resource["resourceType"]
    rows = rows_of(resource)
    for name, parameter in definitions().parameters[kind].items():
        if parameter.kind == "composite":
            here, there = _together(resource, parameter)
        else:
            expression = raw.get(parameter.url, parameter.expression)
            here = _written(value for _, value in reader(kind, parameter.expression)(resource))
            there = _written(_evaluated(resource, expression, kind))
        if here != there:
            yield name, f"{kind}/{resource.get('id')}: {here} here, {there} there"
        elif name not in ("_id", "_lastUpdated") and _is_whole(there) != _is_present(rows, kind, parameter):
            yield name, f"{kind}/{resource.get('id')}: {there} {NOT_INDEXED}"


def found_by(resource: Any) -> set[str]:
    """Parameters by which the other engine finds something."""
    kind = resource["resourceType"]
    return {
        name
        for name, one in definitions().parameters[kind].items()
        if _evaluated(resource, one.expression, kind)
    }


def _evaluated(resource: Any, expression: str, kind: str) -> list[Any]:
    return _compiled(re.sub(r"^Resource\.", f"{kind}.", expression))(resource)


@cache
def _compiled(expression: str) -> Callable[..., list[Any]]:
    known = _AS.sub(r"\1.ofType(\2)", _RESOLVES.sub(_LEADS_TO, expression)).replace(".as(", ".ofType(")
    found: Callable[..., list[Any]] = fhirpathpy.compile(known, _R4)
    return found


def _written(values: Any) -> list[str]:
    return sorted({json.dumps(value, sort_keys=True, default=_number) for value in values})


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return str(value)


def _together(resource: Any, parameter: Parameter) -> tuple[list[Any], list[Any]]:
    """What the components of a composite find at each of its places: here, and there."""
    kind = resource["resourceType"]
    here: list[list[str]] = []
    there: list[list[str]] = []
    for place in ways(kind, parameter.expression):
        assert isinstance(place, Way)
        path = ".".join([kind, *(step for step in place.steps if isinstance(step, str))])
        for _, value in reader(kind, path)(resource):
            here.append([_component(c, kind, place.type, value, resource) for c in parameter.components])
        for i in range(len(_evaluated(resource, path, kind)) if place.steps else 1):
            at = f"{path}[{i}]" if place.steps else kind
            there.append([_component_there(c, kind, at, resource) for c in parameter.components])
    return sorted(here), sorted(there)


def _component_there(component: Component, kind: str, at: str, resource: Any) -> str:
    whole = component.expression.removeprefix("%resource.")
    at = kind if whole != component.expression else at
    parts = (f"{at}.{part}" for part in whole.split(" | "))
    return "; ".join(_written(one for part in parts for one in _evaluated(resource, part, kind)))


def _component(component: Component, kind: str, place: str, value: Any, resource: Any) -> str:
    whole = component.expression.removeprefix("%resource.")
    read = reader(kind, whole)(resource) if whole != component.expression else reader(place, whole)(value)
    return "; ".join(_written(found for _, found in read))


def _is_whole(found: list[Any]) -> bool:
    """Whether there is a value: of a composite, all its components at one place."""
    return any(all(one) if isinstance(one, list) else True for one in found)


def _is_present(rows: Rows, kind: str, parameter: Parameter) -> bool:
    """Whether the index rows say that there is a value."""
    return any(_is_there(rows, *keys.presence(parameter.kind, kind, name), name) for name in parameter.stored)


def _is_there(rows: Rows, table: str, key: int, name: str) -> bool:
    if table == "tok":
        return key in rows.tokens
    if table == "ref":
        return any(name == said for said, _ in rows.references)
    of_key = {
        *rows.dates,
        *rows.strings,
        *rows.numbers,
        *rows.quantities,
        *rows.uris,
    }
    return any(row[0] == key for row in of_key)
