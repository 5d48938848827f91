"""What the operations on code systems and value sets have in common: what they are given, how they answer."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from health import repository
from health.fhir.interactions import Reply
from health.fhir.operations.parameters import Given
from health.fhir.outcome import refused
from health.terminology import Terminology, TerminologyError
from services.kit.database import Row

Coding = tuple[str | None, str, str | None]
"""System, code, display."""


@contextmanager
def told() -> Iterator[None]:
    """A question about terminology that cannot be answered is refused in its own words."""
    try:
        yield
    except TerminologyError as error:
        raise refused(error.status, error.code, str(error)) from error


def one(given: Given, name: str) -> Any | None:
    """The value of a parameter that does not repeat; an empty text is none."""
    return next(iter(given[name]), None) or None


def flag(given: Given, name: str) -> bool | None:
    value = one(given, name)
    if value not in (None, "true", "false"):
        raise refused(400, "value", f"{name} is true or false", name)
    return None if value is None else value == "true"


async def first(
    asked: Iterable[Coding], look: Callable[[Coding], Awaitable[Row | None]], *, abstract: bool | None
) -> tuple[Row | None, Coding]:
    """The first of these that is there, or else the last of them.

    Args:
        abstract: false where one that only groups others does not count.
    """
    for coding in asked:
        row = await look(coding)
        if row is not None and not (abstract is False and row["abstract"]):
            return row, coding
    return None, coding


async def stored(known: Terminology, kind: str, id: str) -> Row:
    """The CodeSystem or ValueSet of this id.

    Raises:
        Refusal: 404, there is none for this caller.
    """
    row = await repository.read(known.db, known.reach, kind, id)
    if row is None:
        raise refused(404, "not-found", f"there is no {kind}/{id} here for this caller")
    return row


def coding(value: Any, path: str) -> Coding:
    """A Coding as it was given in a body."""
    found = [value.get(name) if isinstance(value, dict) else None for name in ("system", "code", "display")]
    if any(part is not None and not isinstance(part, str) for part in found) or not found[1]:
        raise refused(400, "value", f"{path} is a Coding with a code", path)
    return found[0], found[1], found[2]


def codings(given: Given, *, systems: str = "system") -> list[Coding]:
    """What is to be looked at: `code` (with `system` and `display`), `coding`, or each of `codeableConcept`.

    Raises:
        Refusal: 400 unless exactly one of them is given.
    """
    code, plain, concept = (one(given, name) for name in ("code", "coding", "codeableConcept"))
    if sum(value is not None for value in (code, plain, concept)) != 1:
        raise refused(400, "required", "give one of code, coding, codeableConcept", "code")
    if code is not None:
        return [(one(given, systems), code, one(given, "display"))]
    if plain is not None:
        return [coding(plain, "coding")]
    listed = concept.get("coding") if isinstance(concept, dict) else None
    if not isinstance(listed, list) or not listed:
        raise refused(400, "value", "codeableConcept has a coding", "codeableConcept")
    return [coding(each, f"codeableConcept.coding[{n}]") for n, each in enumerate(listed)]


def parameters(found: Iterable[tuple[str, str, Any]]) -> Reply:
    """A Parameters resource of name, type and value of each; those without a value are left out."""
    said = [parameter(name, kind, value) for name, kind, value in found if value is not None]
    return Reply(orjson.dumps({"resourceType": "Parameters", "parameter": said}))


def parameter(name: str, kind: str, value: Any) -> dict[str, Any]:
    if kind == "part":
        return {"name": name, "part": [parameter(*part) for part in value if part[2] is not None]}
    return {"name": name, f"value{kind[0].upper()}{kind[1:]}": value}


def shown(row: Row, language: str | None) -> str | None:
    """The display in a language, where there is one."""
    if language is not None:
        said: Sequence[Mapping[str, Any]] = row["designations"]
        primary = language.partition("-")[0].lower()
        fitting = [d for d in said if d.get("language", "").partition("-")[0].lower() == primary]
        exact = [d for d in fitting if d["language"].lower() == language.lower()]
        for found in (*exact, *fitting):
            return str(found["value"])
    display: str | None = row["display"]
    return display


def judged(row: Row | None, asked: Coding, where: str, language: str | None) -> Reply:
    """The answer of `$validate-code`: whether it is there, and whether its display is one of its own."""
    system, code, display = asked
    named = f"{system}|{code}" if system else code
    if row is None:
        return parameters([("result", "boolean", False), ("message", "string", f"{named} is not in {where}")])
    right = shown(row, language)
    own = {folded(text) for text in (row["display"], *(d["value"] for d in row["designations"])) if text}
    if display is not None and own and folded(display) not in own:
        words = f"{display!r} is no display of {named}; {right!r} is"
        said = [("result", "boolean", False), ("message", "string", words), ("display", "string", right)]
        return parameters(said)
    return parameters([("result", "boolean", True), ("display", "string", right)])


def folded(text: str) -> str:
    return " ".join(text.casefold().split())
