"""Searches: a page of what is found, how many there are, what they refer to and what refers to them.

No statement gathers what it does not show, but for a few thousand rows that are to be put in order: a page
costs what it shows, however much is kept.
"""

from collections.abc import Iterable, Sequence

from health.criteria import AnyOf, Criteria, Not, Order, Pointed, Present, References, Tokens
from health.reaching import Reach
from health.repository import fitting
from health.repository.clauses import any_one, at_last, of_types
from health.repository.leading import Lead, holds_beside, leading, ordered, source, without
from health.repository.reach import Args, reached, shown
from health.repository.store import FOUND, about
from health.versions import Found
from services.kit.database import Connection, Row

Place = Sequence[str | None]
"""Where a page ended: what the last resource was sorted by, and its key."""

# What an estimate of rows may not choose: every statement here goes from key to key.
_SETTINGS = ("enable_hashjoin", "enable_mergejoin", "enable_seqscan", "enable_material", "enable_memoize")
_COLUMNS = {"dat": "lo", "num": "lo", "qty": "lo", "str": "value", "uri": "value"}
_TYPES = {"dat": "bigint", "num": "numeric", "qty": "numeric", "ts": "timestamptz"}


async def bound(db: Connection, milliseconds: int) -> None:
    """For this transaction: no statement runs longer than this, and none through a whole table."""
    off = ", ".join(f"set_config('{name}', 'off', true)" for name in _SETTINGS)
    await db.execute(f"select set_config('statement_timeout', '{milliseconds:d}', true), {off}")


async def search(
    db: Connection,
    reach: Reach,
    criteria: Criteria,
    *,
    order: Sequence[Order] = (),
    after: Place | None = None,
    limit: int,
) -> list[Row]:
    """Resources in the order asked for, else as they came: pk, type, id, version, ts, body and whether it is
    `beyond` one answer, `about` them, and their `place`. What lacks a value comes last, whichever way is
    sorted.

    Args:
        after: the place of the last one seen.
    """
    lead = await leading(db, reach, criteria, counted=bool(order))
    return await _page(db, reach, criteria, lead, tuple(order), after, limit, 0, fitting.ANSWER_BYTES)


async def _page(
    db: Connection,
    reach: Reach,
    criteria: Criteria,
    lead: Lead | None,
    order: tuple[Order, ...],
    after: Place | None,
    limit: int,
    lacking: int,
    room: int,
) -> list[Row]:
    """
    Args:
        lacking: by how many keys more it is sorted that none of these resources has a value for.
        room: bytes that their bodies may have.
    """
    args = Args()
    gathers = lead is not None and lead.few and (bool(order) or not ordered(lead.clause))
    if gathers or (order and not _streams(order[0])):
        page = _gathered(reach, criteria, lead, order, after, limit, args)
        return await _shown(db, reach, page, order, lacking, room, args)
    if not order:
        page = _followed(reach, criteria, lead, after, limit, args)
        return await _shown(db, reach, page, order, lacking, room, args)
    rows: list[Row] = []
    if after is None or after[0] is not None:
        page = _streamed(reach, criteria, order, after, limit, args)
        rows = await _shown(db, reach, page, order, lacking, room, args)
        room -= fitting.size(rows)
    if len(rows) < limit and order[0].of in _COLUMNS:
        none = Not(Present(((order[0].of, order[0].keys[0]),)))
        rest = Criteria(criteria.types, (*criteria.clauses, none))
        place = after[1:] if after is not None and after[0] is None else None
        rows += await _page(db, reach, rest, lead, order[1:], place, limit - len(rows), lacking + 1, room)
    return rows


def _streams(order: Order) -> bool:
    """Whether an index gives resources in this order."""
    return order.of in ("ts", "id") or (order.of in _COLUMNS and len(order.keys) == 1)


async def _shown(
    db: Connection, reach: Reach, page: str, order: Sequence[Order], lacking: int, room: int, args: Args
) -> list[Row]:
    by = _by(order, "page.")
    place = [*["null"] * lacking, *(f"page.k{i}::text" for i in range(len(order))), "page.pk::text"]
    sql = f"""select {_columns(reach, args, by, room)}, jsonb_build_array({", ".join(place)}) as place
              from ({page}) page join resource r on r.pk = page.pk {by}"""
    return await db.fetch(sql, *args.values)


def _columns(reach: Reach, args: Args, by: str, room: int) -> str:
    body = fitting.body(shown(reach, args, "r"), by, args(room))
    return f"r.pk, r.type, r.id, r.version, r.ts, {body}, {about(reach, args, 'r')}"


def _gathered(
    reach: Reach,
    criteria: Criteria,
    lead: Lead | None,
    order: Sequence[Order],
    after: Place | None,
    limit: int,
    args: Args,
) -> str:
    """All rows that lead, put in order; then those that are meant, as far as the page goes."""
    if lead is None:
        rows = f"select i.pk from resource i where i.type = any({args(list(criteria.types))})"
    else:
        rows = source(criteria, lead, args, reach)
    conditions = [*_conditions(reach, criteria, lead, args, "hit.pk"), *_after(order, after, args)]
    return f"""select hit.* from (
                   select {_keys("led.pk", _values(reach, order, args, "led.pk"))}
                   from (select distinct i.pk from ({rows}) i) led {_by(order, "")} offset 0) hit
               where {_all(conditions)} {_by(order, "hit.")} limit {args(limit)}"""


def _followed(
    reach: Reach, criteria: Criteria, lead: Lead | None, after: Place | None, limit: int, args: Args
) -> str:
    """By one index in the order of its keys: those of the leading clause, else the types."""
    match lead.clause if lead is not None and ordered(lead.clause) else None:
        case Tokens(hashes):
            table, column, values = "tok", "hash", f"{args(list(hashes))}::bigint[]"
        case References(hashes):
            table, column, values = "ref", "hash", f"{args(list(hashes))}::bigint[]"
        case _:
            lead, table, column = None, "resource", "type"
            values = f"{args(list(criteria.types))}::text[]"
    conditions = [*_conditions(reach, criteria, lead, args, "m.pk"), *_after((), after, args, "m")]
    limited = args(limit)
    return f"""select distinct s.pk from unnest({values}) v (x) cross join lateral (
                   select m.pk from {table} m where m.{column} = v.x and {_all(conditions)}
                   order by m.pk limit {limited}) s
               order by s.pk limit {limited}"""


def _streamed(
    reach: Reach, criteria: Criteria, order: Sequence[Order], after: Place | None, limit: int, args: Args
) -> str:
    """By the index of what is sorted by first, as far as the page goes."""
    first, *others = order
    values = _values(reach, others, args, "led.pk")
    conditions = [*_conditions(reach, criteria, None, args, "hit.pk"), *_after(order, after, args)]
    limited, by = args(limit), _by(order, "hit.", streamed=True)
    if first.of not in _COLUMNS:
        rows = f"""select {_keys("led.pk", [f"led.{first.of}", *values])} from resource led
                   where led.type = v.x {_onwards(first, f"led.{first.of}", after, args)}"""
        page = f"{_all(conditions)} {by} limit {limited}"
        return f"""select hit.* from unnest({args(list(criteria.types))}::text[]) v (x)
                   cross join lateral (select hit.* from ({rows}) hit where {page}) hit
                   {by} limit {limited}"""
    column = _COLUMNS[first.of]
    further = ">" if first.descending else "<"
    rows = f"""select {_keys("led.pk", [f"led.{column}", *values])} from {first.of} led
               where led.key = {args(first.keys[0])} {_onwards(first, f"led.{column}", after, args)}
                   and not exists (
                       select from {first.of} e where e.pk = led.pk and e.key = led.key
                           and (e.{column}, e.ctid) {further} (led.{column}, led.ctid) offset 0)"""
    return f"select hit.* from ({rows}) hit where {_all(conditions)} {by} limit {limited}"


def _conditions(reach: Reach, criteria: Criteria, lead: Lead | None, args: Args, pk: str) -> list[str]:
    """What is asked of the rows of the lead (of the types, where nothing leads)."""
    rest = without(criteria, lead).clauses
    of_type = lead is not None and not isinstance(lead.clause, Pointed | AnyOf)
    meant = [holds_beside(lead, clause, args, pk, reach) for clause in rest]
    if of_type and reach.everybody:
        return meant
    return [at_last(meant, of_types(criteria.types, args, pk, reach))]


def _values(reach: Reach, order: Iterable[Order], args: Args, pk: str) -> list[str]:
    """What a resource is sorted by: of several values the first in the order asked for."""
    return [_value(reach, one, args, pk) for one in order]


def _value(reach: Reach, order: Order, args: Args, pk: str) -> str:
    if order.of in ("ts", "id"):
        return f"(select o.{order.of} from resource o where o.pk = {pk})"
    outermost = "max" if order.descending else "min"
    if order.of == "body":
        values = f"jsonb_path_query(({shown(reach, args, 'o')})::jsonb, {args(order.path)}::text::jsonpath)"
        return f"(select {outermost}(v.x #>> '{{}}') from resource o, {values} v (x) where o.pk = {pk})"
    return f"""(select {outermost}(d.{_COLUMNS[order.of]}) from {order.of} d
                where d.pk = {pk} and d.key = any({args(list(order.keys))}))"""


def _keys(pk: str, values: Iterable[str]) -> str:
    return ", ".join([f"{pk} as pk", *(f"{value} as k{i}" for i, value in enumerate(values))])


def _by(order: Sequence[Order], table: str, *, streamed: bool = False) -> str:
    """
    Args:
        streamed: all have a value of the first key, and its index gives the order, whichever way it is read.
    """
    columns = [f"{table}k{i} {'desc' if one.descending else 'asc'} nulls last" for i, one in enumerate(order)]
    if streamed:
        columns[0] = columns[0].removesuffix(" nulls last")
    return "order by " + ", ".join([*columns, f"{table}pk"])


def _after(order: Sequence[Order], place: Place | None, args: Args, hit: str = "hit") -> list[str]:
    """That a row comes after this place."""
    if place is None:
        return []
    alternatives: list[str] = []
    equal: list[str] = []
    for i, (one, value) in enumerate(zip(order, place, strict=False)):
        key = f"{hit}.k{i}"
        if value is None:
            equal.append(f"{key} is null")
            continue
        last = _last(one, value, args)
        beyond = f"({key} {'<' if one.descending else '>'} {last} or {key} is null)"
        alternatives.append(_all([*equal, beyond]))
        equal.append(f"{key} = {last}")
    alternatives.append(_all([*equal, f"{hit}.pk > {args(place[-1])}::text::bigint"]))
    return [any_one(alternatives)]


def _onwards(order: Order, column: str, place: Place | None, args: Args) -> str:
    """Where the index is entered."""
    if place is None or place[0] is None:
        return ""
    return f"and {column} {'<=' if order.descending else '>='} {_last(order, place[0], args)}"


def _last(order: Order, value: str, args: Args) -> str:
    return f"{args(value)}::text::{_TYPES.get(order.of, 'text')}"


def _all(conditions: Sequence[str]) -> str:
    return " and ".join(f"({one})" for one in conditions) or "true"


async def count(db: Connection, reach: Reach, criteria: Criteria) -> int:
    """How many there are that the caller may see."""
    args = Args()
    rows = meant(reach, criteria, await leading(db, reach, criteria), args)
    return int(await db.fetchval(f"select count(*) from ({rows}) s", *args.values))


async def matching(
    db: Connection, reach: Reach, criteria: Criteria, *, client: str, limit: int
) -> list[Found]:
    """The first few stored resources a search means, the client's own before others'."""
    args = Args()
    rows = meant(reach, criteria, await leading(db, reach, criteria), args)
    sql = f"""select {FOUND} from ({rows}) s join resource r on r.pk = s.pk
              order by r.client <> {args(client)}, r.pk limit {args(limit)}"""
    return [Found(*row) for row in await db.fetch(sql, *args.values)]


def meant(reach: Reach, criteria: Criteria, lead: Lead | None, args: Args) -> str:
    """A select of the keys (`pk`) of all that a search means and the caller may see, in no order."""
    if lead is None:
        rows = f"select i.pk from resource i where i.type = any({args(list(criteria.types))})"
    else:
        rows = f"select distinct i.pk from ({source(criteria, lead, args, reach)}) i"
    conditions = _conditions(reach, criteria, lead, args, "hit.pk")
    return f"select hit.pk from ({rows} offset 0) hit where {_all(conditions)}"


# What goes along with what is found


async def included(
    db: Connection,
    reach: Reach,
    pks: Sequence[int],
    *,
    keys: Sequence[int] | None,
    types: Sequence[str],
    limit: int,
    room: int,
) -> list[Row]:
    """What these resources refer to, each once and without these themselves.

    Args:
        keys: of the references that are followed; None for all.
        types: of the resources wanted; none for all.
        room: bytes, what is `beyond` them has no body.
    """
    args = Args(list(pks))
    which = "" if keys is None else f"and f.key = any({args(list(keys))})"
    rows = f"select f.target as pk from ref f where f.pk = any($1) and f.target is not null {which}"
    return await _along(db, reach, rows, types, limit, room, args)


async def revincluded(
    db: Connection, reach: Reach, pks: Sequence[int], *, keys: Sequence[int], limit: int, room: int
) -> list[Row]:
    """What refers to these resources under one of these keys, each once and without these themselves.

    Args:
        room: as of `included`.
    """
    args = Args(list(pks))
    rows = f"""select f.pk from unnest($1::bigint[]) t (x)
               cross join unnest({args(list(keys))}::bigint[]) k (x)
               cross join lateral (select f.pk from ref f where f.target = t.x and f.key = k.x offset 0) f"""
    return await _along(db, reach, rows, (), limit, room, args)


async def _along(
    db: Connection, reach: Reach, rows: str, types: Sequence[str], limit: int, room: int, args: Args
) -> list[Row]:
    of_type = f"and r.type = any({args(list(types))})" if types else ""
    sql = f"""select {_columns(reach, args, "order by r.pk", room)} from (
                  select r.* from (select distinct f.pk from ({rows}) f where f.pk <> all($1)) f
                  join resource r on r.pk = f.pk
                  where {reached(reach, args, "r")} {of_type} order by r.pk limit {args(limit)}) r
              order by r.pk"""
    return await db.fetch(sql, *args.values)
