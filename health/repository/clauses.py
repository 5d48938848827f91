"""What a search asks of a resource, as a condition in SQL on the resource's key.

Each is a probe of an index for one resource, fenced by `offset 0`, so that no estimate of a planner can turn
it into a join that runs through a whole type.
"""

from collections.abc import Iterable, Sequence
from typing import assert_never

from health.criteria import (
    AnyOf,
    Between,
    Bounds,
    Chained,
    Clause,
    Coded,
    Criteria,
    Ids,
    Near,
    Not,
    Pointed,
    Present,
    References,
    Texts,
    Tokens,
    Updated,
    Wording,
)
from health.keys import folded
from health.reaching import Reach
from health.repository.reach import Args, reached

# How a stored interval compares with the asked one (FHIR R4 search.html#prefix). Dates are [lo, hi) on both
# sides. Bounds that follow from the others are said too: by them an index is entered.
_DATES = {
    "eq": "({d}.lo >= {lo} and {d}.lo < {hi} and {d}.hi <= {hi})",
    "ne": "({d}.lo < {lo} or {d}.hi > {hi})",
    "gt": "{d}.hi > {hi}",
    "lt": "{d}.lo < {lo}",
    "ge": "({d}.hi > {lo} and ({d}.hi > {hi} or {d}.lo >= {lo}))",
    "le": "({d}.lo < {hi} and ({d}.lo < {lo} or {d}.hi <= {hi}))",
    "sa": "{d}.lo >= {hi}",
    "eb": "{d}.hi <= {lo}",
    "ap": "({d}.lo < {hi} and {d}.hi > {lo})",
}
# A stored number is itself, a stored range has both its ends.
_NUMBERS = {
    "eq": "({d}.{low} >= {lo} and {d}.{low} < {hi} and {d}.{high} < {hi})",
    "ne": "({d}.{low} < {lo} or {d}.{high} >= {hi})",
    "gt": "{d}.{high} > {lo}",
    "lt": "{d}.{low} < {lo}",
    "ge": "{d}.{high} >= {lo}",
    "le": "{d}.{low} <= {lo}",
    "sa": "{d}.{low} > {lo}",
    "eb": "{d}.{high} < {lo}",
    "ap": "({d}.{low} <= {hi} and {d}.{high} >= {lo})",
}
_INSTANTS = {
    "eq": "({r}.ts >= {lo} and {r}.ts < {hi})",
    "ne": "({r}.ts < {lo} or {r}.ts >= {hi})",
    "gt": "{r}.ts >= {hi}",
    "lt": "{r}.ts < {lo}",
    "ge": "{r}.ts >= {lo}",
    "le": "{r}.ts < {hi}",
    "sa": "{r}.ts >= {hi}",
    "eb": "{r}.ts < {lo}",
    "ap": "({r}.ts >= {lo} and {r}.ts < {hi})",
}
_MOMENT = "('epoch'::timestamptz + {}::bigint * interval '1 microsecond')"
_KILOMETRES = """(12742 * asin(least(1, sqrt(
    sin(radians(p.latitude - {latitude}) / 2) ^ 2 + cos(radians({latitude}))
    * cos(radians(p.latitude)) * sin(radians(p.longitude - {longitude}) / 2) ^ 2))))"""
_KILOMETRES_A_DEGREE = 111.0
LAST = "\U0010ffff"
"""What no text goes on with: between a text and the same with this are those that begin with it."""


def holds(clause: Clause, args: Args, pk: str, reach: Reach) -> str:
    """That a clause holds for the resource.

    Args:
        pk: SQL of the resource's key; of a relation with a name of more than one letter, or `m` or `r`.
        reach: who asks: what a resource is chained to, or referred to by, counts only if they may see it.
    """
    match clause:
        case Ids(ids):
            return _exists(f"resource i where i.pk = {pk} and i.id = any({args(list(ids))})")
        case Updated(any_of):
            return _exists(f"resource i where i.pk = {pk} and {updated(any_of, args, 'i')}")
        case Tokens(hashes):
            return _exists(f"tok t where t.pk = {pk} and t.hash = any({args(list(hashes))})")
        case References(hashes):
            return _exists(f"ref f where f.pk = {pk} and f.hash = any({args(list(hashes))})")
        case Between(table, any_of):
            return _exists(
                f"{table} d where d.pk = {pk} and {any_one(between(b, args, table) for b in any_of)}"
            )
        case Texts(table, any_of):
            return _exists(f"{table} s where s.pk = {pk} and {any_one(texts(any_of, table, args))}")
        case Near(places):
            return _exists(f"pos p where p.pk = {pk} and {near(places, args)}")
        case Present(rows):
            return any_one(_exists(f"{present(table, key, args)} and x.pk = {pk}") for table, key in rows)
        case Not(inner):
            return f"not {holds(inner, args, pk, reach)}"
        case AnyOf(clauses):
            return any_one(holds(inner, args, pk, reach) for inner in clauses)
        case Chained(keys, to):
            f, along = _step(args), args(list(keys))
            meant = seen(to, args, f"{f}.target", reach)
            return _exists(f"ref {f} where {f}.pk = {pk} and {f}.key = any({along}) and {meant}")
        case Pointed(keys, by, _):
            f, along = _step(args), args(list(keys))
            meant = seen(by, args, f"{f}.pk", reach)
            return _exists(f"ref {f} where {f}.target = {pk} and {f}.key = any({along}) and {meant}")
        case Coded():
            raise TypeError("terminology says first which codes these are")
    assert_never(clause)


def _step(args: Args) -> str:
    """A name for the references of one step, which what they lead to is asked inside of."""
    return f"step{len(args.values)}"


def all_hold(criteria: Criteria, args: Args, pk: str, reach: Reach) -> str:
    """That every clause holds for the resource; not that it is of one of the types."""
    return " and ".join(holds(clause, args, pk, reach) for clause in criteria.clauses) or "true"


def seen(criteria: Criteria, args: Args, pk: str, reach: Reach) -> str:
    """That the resource is one the criteria mean, and that the caller may see it."""
    meant = [holds(clause, args, pk, reach) for clause in criteria.clauses]
    return at_last(meant, of_types(criteria.types, args, pk, reach))


def at_last(conditions: Sequence[str], reached: str) -> str:
    """All of these, and only of what they hold for, which is less, the one that reads the resource itself."""
    return f"case when {' and '.join(conditions)} then {reached} else false end" if conditions else reached


def of_types(types: Iterable[str], args: Args, pk: str, reach: Reach) -> str:
    types = args(list(types))
    return f"(select o.type = any({types}) and {reached(reach, args, 'o')} from resource o where o.pk = {pk})"


def updated(any_of: Iterable[Bounds], args: Args, r: str) -> str:
    """When a row of `resource` was written, which is an instant."""
    found = []
    for b in any_of:
        compared = _INSTANTS[b.comparison]
        given = {"lo": b.lo, "hi": b.hi}
        moments = {n: _MOMENT.format(args(v)) for n, v in given.items() if f"{{{n}}}" in compared}
        found.append(compared.format(r=r, **moments))
    return any_one(found)


def between(b: Bounds, args: Args, table: str, d: str = "d") -> str:
    found = f"{d}.key = {args(b.key)} and {_compared(b, args, table, d)}"
    return f"({found} and {_compared(b.also, args, table, d)})" if b.also is not None else f"({found})"


def _compared(b: Bounds, args: Args, table: str, d: str) -> str:
    compared = (_DATES if table == "dat" else _NUMBERS)[b.comparison]
    given = {"lo": b.lo, "hi": b.hi}
    return compared.format(
        d=d,
        low=b.end or "lo",
        high=b.end or "hi",
        **{name: args(value) for name, value in given.items() if f"{{{name}}}" in compared},
    )


def texts(any_of: Iterable[Wording], table: str, args: Args) -> list[str]:
    """What is asked of a row `s` of `str` or `uri`: one condition for all asked alike by one key."""
    asked: dict[tuple[int, str], list[str]] = {}
    for text in any_of:
        asked.setdefault((text.key, text.match), []).append(text.value)
    return [
        f"(s.key = {args(key)} and {_alike(match, values, table, args)})"
        for (key, match), values in asked.items()
    ]


def _alike(match: str, values: list[str], table: str, args: Args) -> str:
    if match == "contains":
        return f"s.value like any({args([f'%{_literally(v)}%' for v in values])})"
    if match == "exact":
        if table == "uri":
            return f"s.value = any({args(values)})"
        alike = args([folded(v) for v in values])
        return f"s.value = any({alike}) and coalesce(s.exact, s.value) = any({args(values)})"
    if len(values) == 1:
        return f"s.value >= {args(values[0])} and s.value < {args(values[0] + LAST)}"
    return f"s.value like any({args([f'{_literally(v)}%' for v in values])})"


def _literally(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def near(places: Iterable[tuple[float, float, float]], args: Args) -> str:
    """Within so many kilometres, along a great circle, of one of the places."""
    found = []
    for latitude, longitude, distance in places:
        given = {"latitude": f"{args(latitude)}::float8", "longitude": f"{args(longitude)}::float8"}
        slack = distance / _KILOMETRES_A_DEGREE
        found.append(
            f"(p.latitude between {args(latitude - slack)} and {args(latitude + slack)}"
            f" and {_KILOMETRES.format(**given)} <= {args(distance)})"
        )
    return any_one(found)


def present(table: str, key: int, args: Args) -> str:
    """Rows `x` of a table under a key, after `from`."""
    return f"{table} x where x.{'hash' if table == 'tok' else 'key'} = {args(key)}"


def any_one(conditions: Iterable[str]) -> str:
    return f"({' or '.join(conditions)})"


def _exists(rows: str) -> str:
    return f"exists (select from {rows} offset 0)"
