"""Search: from query parameters to the small tree that `repository` turns into SQL (FHIR R4 search.html).

What is not understood is refused and named; `Prefer: handling=lenient` leaves it aside and reports it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, cast
from urllib.parse import parse_qsl

from health import keys
from health.fhir import extract, references
from health.fhir.definitions import Parameter, definitions
from health.fhir.outcome import Issue, Refusal
from health.models import Clause, Comparison, Criteria, Dates, Ids, References, Tokens, When
from services.identity.shapes import CITIZEN_NUMBER
from services.kit.telemetry import holds_citizen_number

COUNT_DEFAULT = 50
COUNT_MAX = 500
VALUES_MAX = 500
"""Values of one OR list."""

Handling = Literal["strict", "lenient"]
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(\d.*)")
_ESCAPED = re.compile(r"\\([,|$\\])")


@dataclass(slots=True)
class Search:
    """A search of one type, parsed.

    Attributes:
        count: resources on a page; 0 asks for the number alone.
        ignored: what was left aside under lenient handling.
        private: it names a citizen number, which must not stand in a URL.
    """

    criteria: Criteria
    count: int = COUNT_DEFAULT
    ignored: list[Issue] = field(default_factory=list)
    private: bool = False


def parsed(
    kind: str, pairs: Iterable[tuple[str, str]], *, base: str, handling: Handling = "strict"
) -> Search:
    """The search that query parameters ask for.

    Args:
        base: this server's base URL with a slash at its end.

    Raises:
        Refusal: 400 with an issue for each parameter that is unknown, unsupported or malformed.
    """
    clauses: list[Clause] = []
    issues: list[Issue] = []
    found = Search(Criteria(kind))
    for name, value in pairs:
        try:
            if name == "_count":
                found.count = _count(value)
            elif name != "_format":
                clauses.append(_clause(kind, name, value, base))
                found.private = found.private or CITIZEN_NUMBER in value or holds_citizen_number(value)
        except _Unknown as error:
            (found.ignored if handling == "lenient" else issues).append(error.issue)
        except ValueError as error:
            issues.append(Issue("value", f"{name}: {error}", name))
    if issues:
        raise Refusal(400, issues)
    found.criteria = Criteria(kind, tuple(clauses))
    return found


def condition(kind: str, query: str, *, base: str, path: str) -> Criteria:
    """The search of a conditional request or reference.

    Raises:
        Refusal: 400 naming `path`; also when there is nothing to search by.
    """
    # What shapes an answer chooses nothing.
    pairs = [p for p in parse_qsl(query, keep_blank_values=True) if p[0] not in ("_format", "_count")]
    if not pairs:
        raise Refusal(400, [Issue("invalid", f"{query!r} says nothing to search by", path)])
    try:
        return parsed(kind, pairs, base=base).criteria
    except Refusal as refusal:
        raise Refusal(
            refusal.status, [Issue(i.code, f"{query}: {i.diagnostics}", path) for i in refusal.issues]
        ) from refusal


def parameters_of(kind: str) -> list[tuple[str, str]]:
    """Name and kind of every parameter a search of this type takes, as told to callers."""
    named = definitions().parameters.get(kind, {}).values()
    return [("_id", "token"), *sorted((p.name, p.kind) for p in named)]


class _Unknown(Exception):
    """A parameter or modifier nobody declared: the one thing lenient handling may leave aside."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(words)
        self.issue = Issue("not-supported", words, name)


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise ValueError(f"{value!r} is not a whole number from 0 on")
    return min(int(value[:9]), COUNT_MAX)


def _clause(kind: str, name: str, value: str, base: str) -> Clause:
    bare, colon, modifier = name.partition(":")
    known = definitions().parameters.get(kind, {})
    if bare != "_id" and bare not in known:
        names = ", ".join(name for name, _ in parameters_of(kind))
        raise _Unknown(name, f"{kind} knows no search parameter {name!r}; it knows {names}")
    if colon and not (modifier == "Patient" and bare == "patient"):
        raise _Unknown(name, f"the modifier {modifier!r} of {bare} is not supported")
    values = _alternatives(value)
    if bare == "_id":
        return Ids(tuple(_unescaped(v) for v in values))
    parameter = known[bare]
    match parameter.kind:
        case "token":
            return Tokens(tuple(_token(kind, parameter, v) for v in values))
        case "reference":
            return References(tuple(_reference(kind, parameter, v, base) for v in values))
        case "date":
            return Dates(keys.date_key(kind, bare), tuple(_when(v) for v in values))


def _alternatives(value: str) -> Sequence[str]:
    """The values between commas that are not escaped."""
    values = re.split(r"(?<!\\)((?:\\\\)*),", value)
    joined = [a + b for a, b in zip(values[::2], [*values[1::2], ""], strict=True)]
    if any(not v for v in joined):
        raise ValueError("a value is missing; leave the parameter out to search for everything")
    if len(joined) > VALUES_MAX:
        raise ValueError(f"more than {VALUES_MAX} values")
    return joined


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(r"\1", value)


def _token(kind: str, parameter: Parameter, value: str) -> int:
    system, bar, code = _split_at_bar(value)
    if not bar:
        return keys.token_key_asked(kind, parameter.name, None, _unescaped(value))
    if not system and not code:
        raise ValueError("'|' names neither a system nor a code")
    return keys.token_key_asked(kind, parameter.name, _unescaped(system), _unescaped(code))


def _split_at_bar(value: str) -> tuple[str, str, str]:
    found = re.match(r"((?:[^\\|]|\\.)*)(\|)(.*)", value, re.DOTALL)
    return (found[1], found[2], found[3]) if found else ("", "", value)


def _reference(kind: str, parameter: Parameter, value: str, base: str) -> int:
    target = _unescaped(value).removeprefix(base)
    if references.LOCAL.fullmatch(target):
        target = target.partition("/_history/")[0]
    elif re.fullmatch(references.ID, target):
        target = f"Patient/{target}"
    elif not references.ABSOLUTE.fullmatch(target):
        raise ValueError(f"{target[:80]!r} is no reference: write id, Patient/id or a URL")
    return keys.reference_key(kind, parameter.name, target)


def _when(value: str) -> When:
    # A plus sign of a zone that was not percent-encoded arrives as a space.
    found = _PREFIXED.fullmatch(_unescaped(value).replace(" ", "+"))
    if found is None:
        raise ValueError(f"{value[:40]!r} is no date: write e.g. 2013, 2013-01-14 or ge2013-01-14T10:00Z")
    low, high = extract.interval(found[2])
    comparison = cast(Comparison, found[1] or "eq")
    if comparison == "ap":
        # A tenth of the time between now and the date (search.html#prefix) either way.
        slack = abs(extract.microseconds(datetime.now(UTC)) - low) // 10
        return When("ap", low - slack, high + slack)
    return When(comparison, low, high)
