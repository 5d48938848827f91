"""Terminology: code systems and value sets as they are kept, and what a value set comes to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asyncpg import InvalidRegularExpressionError

from health import keys
from health.reaching import Reach
from health.repository.reach import Args, readable, shown
from services.kit.database import Connection, Row, Transaction

_SYSTEM = "pk, url, version, title, language, content, properties"
_COLUMNS = (
    "n", "code", "display", "parents", "ancestors", "designations", "properties", "inactive", "abstract",
)  # fmt: skip
_NAMED = {"CodeSystem": "system", "ValueSet": "url"}
"""Under which search parameter the URL of each is found."""
_TREE = frozenset({"is-a", "descendent-of", "is-not-a", "generalizes"})


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on the concepts of a code system (FHIR R4, valueset.html#compositions)."""

    property: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Part:
    """What a value set takes from one code system, or from other value sets.

    Attributes:
        system: key of the loaded code system; None where it is not loaded, or other value sets alone say it.
        whole: the code system is loaded completely, so that what is not in it is no code of it.
        listed: concepts named one by one: code, and the display and designation they are given.
        within: value sets in every one of which the codes are too.
    """

    url: str
    version: str
    system: int | None
    whole: bool = False
    listed: list[dict[str, Any]] | None = None
    filters: tuple[Filter, ...] = ()
    within: tuple["Composed", ...] = ()


@dataclass(frozen=True, slots=True)
class Composed:
    """A value set: what is in one of the parts, and in none of the excluded."""

    include: tuple[Part, ...]
    exclude: tuple[Part, ...] = ()
    active_only: bool = False


# What there is


async def loaded(db: Connection, url: str, version: str | None) -> Row | None:
    """A loaded code system, the one of this version or that loaded last."""
    return await db.fetchrow(
        f"""select {_SYSTEM} from code_system
            where resource is null and url = $1 and ($2::text is null or version = $2)
            order by loaded_at desc, pk desc limit 1""",
        url,
        version,
    )


async def stored(db: Connection, reach: Reach, kind: str, url: str, version: str | None = None) -> Row | None:
    """The newest CodeSystem or ValueSet resource of a URL that the caller may see: pk, version, body."""
    args = Args()
    named = f"m.key = {args(keys.param_key(kind, _NAMED[kind]))} and m.value = {args(url)}"
    wanted = args(version)
    return await db.fetchrow(
        f"""select r.pk, r.version, {shown(reach, args, "r")} as body
            from (select m.pk {readable(reach, args, "uri")} and {named}) seen join resource r using (pk)
            where {wanted}::text is null or r.body::json ->> 'version' = {wanted}
            order by r.pk desc limit 1""",
        *args.values,
    )


async def kept_from(db: Connection, resource: int, version: int) -> Row | None:
    """The code system that was read from this version of a CodeSystem resource."""
    return await db.fetchrow(
        f"select {_SYSTEM} from code_system where resource = $1 and resource_version = $2", resource, version
    )


async def value_set(db: Connection, url: str, version: str | None) -> Row | None:
    """A value set of FHIR's own: url, version, title, body."""
    return await db.fetchrow(
        """select url, version, title, body from value_set
           where url = $1 and ($2::text is null or version = $2)""",
        url,
        version,
    )


async def concept(db: Connection, system: int, code: str) -> Row | None:
    return await db.fetchrow(
        f"select {', '.join(_COLUMNS)} from concept where system = $1 and code = $2", system, code
    )


async def related(db: Connection, system: int, code: str, *, limit: int) -> list[Row]:
    """The concepts right above (first) and right below one: code, display, above."""
    return await db.fetch(
        """select p.code, p.display, true as above from concept c
           join concept p on p.system = c.system and p.code = any(c.parents)
           where c.system = $1 and c.code = $2
           union all
           (select code, display, false from concept
            where system = $1 and ancestors @> array[$2] and parents @> array[$2] order by n limit $3)""",
        system,
        code,
        limit,
    )


async def below(db: Connection, system: int, code: str, *, limit: int) -> list[str]:
    """A code, if the code system has it, and all below it."""
    rows = await db.fetch(
        """select code from concept where system = $1 and (code = $2 or ancestors @> array[$2])
           order by n limit $3""",
        system,
        code,
        limit,
    )
    return [row["code"] for row in rows]


# What a value set comes to


async def size(db: Connection, composed: Composed, words: Sequence[str] = ()) -> int:
    args = Args()
    sql = f"select count(*) from ({_relation(composed, args)}) e where {_matching(words, args)}"
    return int(await db.fetchval(sql, *args.values))


async def members(
    db: Connection, composed: Composed, words: Sequence[str] = (), *, offset: int = 0, limit: int
) -> list[Row]:
    """What is in a value set, in its order: system, version, code, display, designations, inactive, abstract.

    Args:
        words: in folded form; each must stand in the code or one of its displays. Displays that begin as the
            first one come first.
    """
    args = Args()
    sql = f"""select system, version, code, display, designations, inactive, abstract
              from ({_relation(composed, args)}) e where {_matching(words, args)}"""
    if words:
        sql += f" order by not starts_with(words, {args(words[0])}), at"
    else:
        sql += " order by at"
    return await db.fetch(f"{sql} offset {args(offset)} limit {args(limit)}", *args.values)


async def found(db: Connection, composed: Composed, system: str | None, code: str) -> list[Row]:
    """The members of a value set with this code, in one system or in any."""
    args = Args()
    sql = f"""select system, version, code, display, designations, inactive, abstract
              from ({_relation(composed, args)}) e where code = {args(code)}"""
    if system is not None:
        sql += f" and system = {args(system)}"
    return await db.fetch(f"{sql} order by at limit 2", *args.values)


def _matching(words: Sequence[str], args: Args) -> str:
    return " and ".join(f"strpos(words, {args(word)}) > 0" for word in words) or "true"


def _relation(composed: Composed, args: Args) -> str:
    """`at` says in which order they come: by part, then as the part orders them."""
    parts = [_part(at, part, args) for at, part in enumerate(composed.include)]
    sql = " union all ".join(parts)
    if len(parts) > 1 or composed.include[0].listed is not None:
        sql = f"select distinct on (system, code) u.* from ({sql}) u order by system, code, at"
    conditions = ["not inactive"] if composed.active_only else []
    if composed.exclude:
        excluded = " union all ".join(_part(at, part, args) for at, part in enumerate(composed.exclude))
        conditions.append(f"(system, code) not in (select system, code from ({excluded}) x)")
    return f"select * from ({sql}) i where {' and '.join(conditions)}" if conditions else sql


def _part(at: int, part: Part, args: Args) -> str:
    if part.system is None and part.listed is None:
        first, *others = part.within
        sql = f"""select array[{at}] || w.at as at, w.system, w.version, w.code, w.display, w.designations,
                         w.inactive, w.abstract, w.words from ({_relation(first, args)}) w where true"""
        return sql + "".join(_in(other, "w.system", "w.code", args) for other in others)
    system = f"{args(part.url)}::text"
    told = f"{system} as system, {args(part.version)}::text as version"
    if part.listed is None:
        sql = f"""select array[{at}, c.n] as at, {told}, c.code, c.display, c.designations, c.inactive,
                         c.abstract, c.words from concept c where c.system = {args(part.system)}"""
        code = "c.code"
    else:
        known = f"c.system = {args(part.system)}::bigint and c.code = g.code"
        sql = f"""select array[{at}, g.n::int] as at, {told}, g.code,
                         coalesce(g.display, c.display) as display,
                         coalesce(g.designation, '[]') || coalesce(c.designations, '[]') as designations,
                         coalesce(c.inactive, false) as inactive, coalesce(c.abstract, false) as abstract,
                         lower(concat_ws(' ', g.display, c.words, g.code)) as words
                  from rows from (jsonb_to_recordset({args(part.listed)}::jsonb)
                                  as (code text, display text, designation jsonb))
                       with ordinality g (code, display, designation, n)
                  {"join" if part.whole else "left join"} concept c on {known} where true"""
        code = "g.code"
    sql += "".join(f" and {_filter(one, args, part.system)}" for one in part.filters)
    return sql + "".join(_in(other, system, code, args) for other in part.within)


def _in(composed: Composed, system: str, code: str, args: Args) -> str:
    return f" and ({system}, {code}) in (select system, code from ({_relation(composed, args)}) v)"


def _filter(filter: Filter, args: Args, system: int | None) -> str:
    if filter.op in _TREE:
        return _in_tree(filter.op, args(filter.value), args, system)
    match filter.property:
        case "concept" | "code":
            return _compared("c.code", filter, args)
        case "display":
            return _compared("c.display", filter, args)
        case "inactive" | "abstract":
            return _compared(f"c.{filter.property}::text", filter, args)
        case "parent" if filter.op == "exists":
            return f"(c.parents <> '{{}}') = ({args(filter.value)}::text = 'true')"
        case "parent":
            return f"c.parents && {args(_several(filter))}"
        case "child" if filter.op == "exists":
            below = f"select from concept k where k.system = {args(system)} and k.ancestors @> array[c.code]"
            return f"exists ({below}) = ({args(filter.value)}::text = 'true')"
        case "child":
            of = f"k.system = {args(system)} and k.code = any({args(_several(filter))})"
            return f"c.code = any(select unnest(k.parents) from concept k where {of})"
        case name:
            return _valued(name, filter, args)


def _valued(name: str, filter: Filter, args: Args) -> str:
    """On the values of a property, of which a concept may have several."""
    values = f"select from jsonb_array_elements(c.properties -> {args(name)}::text) v"
    if filter.op == "exists":
        return f"exists ({values}) = ({args(filter.value)}::text = 'true')"
    said = "coalesce(v ->> 'code', v #>> '{}')"
    if filter.op == "not-in":
        return f"not exists ({values} where {said} = any({args(_several(filter))}))"
    return f"exists ({values} where {_compared(said, filter, args)})"


def _in_tree(op: str, value: str, args: Args, system: int | None) -> str:
    match op:
        case "is-a":
            return f"(c.code = {value} or c.ancestors @> array[{value}::text])"
        case "is-not-a":
            return f"not (c.code = {value} or c.ancestors @> array[{value}::text])"
        case "descendent-of":
            return f"c.ancestors @> array[{value}::text]"
        case _:
            above = f"select unnest(ancestors) from concept where system = {args(system)} and code = {value}"
            return f"(c.code = {value} or c.code = any({above}))"


def _compared(said: str, filter: Filter, args: Args) -> str:
    match filter.op:
        case "=":
            return f"{said} = {args(filter.value)}"
        case "in":
            return f"{said} = any({args(_several(filter))})"
        case "not-in":
            return f"{said} <> all({args(_several(filter))})"
        case "regex":
            return f"{said} ~ {args(_whole(filter.value))}"
        case _:
            return f"({said} is not null) = ({args(filter.value)}::text = 'true')"


def _whole(regex: str) -> str:
    return f"^(?:{regex})$"


async def is_regex(db: Connection, value: str) -> bool:
    """Whether a filter may be by this regular expression."""
    raw: Any = db.connection if isinstance(db, Transaction) else db
    try:
        # A part of its own: whatever else is asked in this transaction goes on.
        async with raw.transaction():
            await raw.fetchval("select '' ~ $1", _whole(value))
    except InvalidRegularExpressionError:
        return False
    return True


def _several(filter: Filter) -> list[str]:
    """A value as a list: that of `in` and `not-in` is one, separated by commas."""
    return [one.strip() for one in filter.value.split(",")] if filter.op.endswith("in") else [filter.value]


# Keeping


async def keep_stored(
    db: Connection, resource: int, version: int, about: Mapping[str, Any], concepts: Sequence[Sequence[Any]]
) -> None:
    """The concepts of a version of a CodeSystem resource, in place of those of an earlier one.

    One statement: it stands or falls as a whole, also outside of a transaction.
    """
    records = [dict(zip(_COLUMNS, row, strict=True)) for row in concepts]
    await db.execute(
        f"""with earlier as (delete from code_system where resource = $1 and resource_version < $2),
            made as (
                insert into code_system (url, version, title, language, content, properties, resource,
                                         resource_version)
                values ($3, $4, $5, $6, $7, $8, $1, $2) on conflict do nothing returning pk)
            insert into concept (system, {", ".join(_COLUMNS)})
            select made.pk, row.* from made, jsonb_to_recordset($9) as row (
                n integer, code text, display text, parents text[], ancestors text[], designations jsonb,
                properties jsonb, inactive boolean, abstract boolean)""",
        resource,
        version,
        *(about[name] for name in ("url", "version", "title", "language", "content", "properties")),
        records,
    )


async def receipt(db: Connection, url: str, version: str) -> Row | None:
    """Of a list that was loaded: its receipt."""
    return await db.fetchrow(
        "select receipt from code_system where resource is null and url = $1 and version = $2", url, version
    )


async def keep_list(
    tx: Transaction,
    about: Mapping[str, Any],
    receipt: Mapping[str, Any],
    concepts: Iterable[Sequence[Any]],
) -> bool:
    """A list of codes; False, and nothing is kept, where there is one of this URL and version."""
    system = await tx.fetchval(
        """insert into code_system (url, version, title, language, content, properties, receipt)
           values ($1, $2, $3, $4, 'complete', $5, $6) on conflict do nothing returning pk""",
        *(about[name] for name in ("url", "version", "title", "language", "properties")),
        receipt,
    )
    if system is None:
        return False
    await tx.copy_records_to_table(
        "concept", records=((system, *row) for row in concepts), columns=("system", *_COLUMNS)
    )
    return True
