"""SMART App Launch 2.0 scopes: which resources a token is for (scopes-and-launch-context.html).

`system/Observation.rs?category=vital-signs` is for the Observations of that category alone. What narrows a
scope is a search by token parameters without modifiers; a scope that says anything else grants nothing, and
so does one in the form of SMART 1 (`patient/*.read`). Several scopes grant what each of them does.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import parse_qsl

from health.criteria import Tokens
from health.fhir import search
from health.fhir.definitions import definitions
from health.fhir.outcome import Refusal, refused
from health.reaching import Granted

_SCOPE = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(?=.)(c?r?u?d?s?)(?:\?(.+))?")

_FOR_ALL = {"SearchParameter": "health:search-parameters:write"}
"""What changes the server for everybody, and the scope that writing it takes beside the type's own."""


def check_for_all(scopes: Iterable[str], kind: str, path: str) -> None:
    """Raises Refusal 403 for a write that would change the server for everybody, without the scope for it."""
    if kind in _FOR_ALL and _FOR_ALL[kind] not in scopes:
        words = f"a {kind} changes what everybody can ask; the scope {_FOR_ALL[kind]} lets one write it"
        raise refused(403, "forbidden", words, path)


@lru_cache(maxsize=4096)
def granted(scopes: frozenset[str], level: str, right: str) -> Granted:
    """What the scopes of a level (patient, user, system) grant by a right (one of c, r, u, d, s)."""
    types: set[str] = set()
    narrowed: set[tuple[str, tuple[tuple[int, ...], ...]]] = set()
    for scope in scopes:
        found = _SCOPE.fullmatch(scope)
        if found is None or found[1] != level or right not in found[3]:
            continue
        if found[4] is None:
            types.add(found[2])
            continue
        for kind in definitions().resources if found[2] == "*" else [found[2]]:
            clauses = _clauses(kind, found[4])
            if clauses:
                narrowed.add((kind, clauses))
    if "*" in types:
        return Granted(everything=True)
    return Granted(types=frozenset(types), narrowed=tuple(sorted(n for n in narrowed if n[0] not in types)))


def _clauses(kind: str, query: str) -> tuple[tuple[int, ...], ...]:
    """Keys of the token index, of which a resource has one of each; none where that is not what is asked."""
    pairs = parse_qsl(query, keep_blank_values=True)
    known = definitions().parameters.get(kind, {})
    if not pairs or any(name not in known or known[name].kind != "token" for name, _ in pairs):
        return ()
    try:
        asked = search.parsed(kind, pairs, base="").criteria.clauses
    except Refusal:
        return ()
    return tuple(clause.hashes for clause in asked if isinstance(clause, Tokens))
