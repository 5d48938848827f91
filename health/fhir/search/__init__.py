"""Search: from query parameters to the small tree that `repository` turns into SQL (FHIR R4 search.html).

What is not understood is refused and named; `Prefer: handling=lenient` leaves it aside and reports it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

from health.criteria import Clause, Criteria, Order
from health.fhir.outcome import Issue, Refusal
from health.fhir.search import results
from health.fhir.search.criteria import Unknown, clause
from health.fhir.search.results import COUNT_DEFAULT, Include, Summary, Total
from services.identity.shapes import CITIZEN_NUMBER
from services.kit.telemetry import holds_citizen_number

CLAUSES_MAX = 500
"""Parameters of one search, as each may have values."""
_ONCE = frozenset({"_count", "_sort", "_total", "_summary", "_elements"})
"""Of two of these only the last would be looked at."""

Handling = Literal["strict", "lenient"]
Pair = tuple[str, str]


@dataclass(slots=True)
class Search:
    """A search, parsed.

    Attributes:
        count: resources on a page; 0 asks for the number alone.
        elements: the only ones that are wanted; none for all.
        understood: the parameters that were, as they were given.
        ignored: what was left aside under lenient handling.
        private: it names a citizen number, which must not stand in a URL.
    """

    criteria: Criteria
    count: int = COUNT_DEFAULT
    order: tuple[Order, ...] = ()
    includes: list[Include] = field(default_factory=list)
    total: Total = "none"
    summary: Summary = "false"
    elements: frozenset[str] = frozenset()
    understood: list[Pair] = field(default_factory=list)
    ignored: list[Issue] = field(default_factory=list)
    private: bool = False


def parsed(
    kind: str | Sequence[str], pairs: Iterable[Pair], *, base: str, handling: Handling = "strict"
) -> Search:
    """The search that query parameters ask for.

    Args:
        kind: the type, or several, searched by what all of them have.
        base: this server's base URL with a slash at its end.

    Raises:
        Refusal: 400 with an issue for each parameter that is unknown, unsupported or malformed.
    """
    types = (kind,) if isinstance(kind, str) else tuple(kind)
    clauses: list[Clause] = []
    issues: list[Issue] = []
    found = Search(Criteria(types))
    for name, value in pairs:
        try:
            if "\0" in value:
                raise ValueError("no text holds a character U+0000")
            if name in _ONCE and any(name == before for before, _ in found.understood):
                raise ValueError("it is given more than once; say it once")
            if not _shaped(found, types, name, value):
                clauses.append(clause(types, name, value, base))
                found.private = found.private or holds_number(value)
            found.understood.append((name, value))
        except Unknown as error:
            (found.ignored if handling == "lenient" else issues).append(error.issue)
        except ValueError as error:
            issues.append(Issue("value", f"{name}: {error}", name))
    if len(clauses) > CLAUSES_MAX:
        issues.append(Issue("too-costly", f"more than {CLAUSES_MAX} parameters of a search"))
    if found.summary != "false" and found.elements:
        issues.append(Issue("invalid", "_summary and _elements cannot be asked for together", "_elements"))
    if issues:
        raise Refusal(400, issues)
    found.criteria = Criteria(types, tuple(clauses))
    return found


def holds_number(value: str) -> bool:
    """Whether a citizen number stands in it, or something is asked by one."""
    return CITIZEN_NUMBER in value or holds_citizen_number(value)


def _shaped(found: Search, types: Sequence[str], name: str, value: str) -> bool:
    """Whether the parameter shapes the answer instead of choosing; sets what it says."""
    match name:
        case "_count":
            found.count = results.count(value)
        case "_sort":
            found.order = results.order(types, value)
        case "_include" | "_include:iterate" | "_revinclude" | "_revinclude:iterate":
            found.includes.append(results.include(types, name, value))
        case "_total":
            found.total = results.total(value)
        case "_summary":
            found.summary = results.summary(value)
        case "_elements":
            found.elements = results.elements(types, value)
        case "_format":
            pass
        case _:
            return False
    return True


def condition(kind: str, query: str, *, base: str, path: str) -> Criteria:
    """The search of a conditional request or reference.

    Raises:
        Refusal: 400 naming `path`; also when there is nothing to search by.
    """
    # What shapes an answer chooses nothing.
    pairs = [
        p for p in parse_qsl(query, keep_blank_values=True) if p[0].partition(":")[0] not in results.NAMES
    ]
    if not pairs:
        raise Refusal(400, [Issue("invalid", f"{query!r} says nothing to search by", path)])
    try:
        return parsed(kind, pairs, base=base).criteria
    except Refusal as refusal:
        raise Refusal(
            refusal.status, [Issue(i.code, f"{query}: {i.diagnostics}", path) for i in refusal.issues]
        ) from refusal


__all__ = ["COUNT_DEFAULT", "Handling", "Include", "Search", "condition", "holds_number", "parsed"]
