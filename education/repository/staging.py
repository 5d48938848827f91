"""A push in temporary tables of its own transaction: copied in, checked as a whole, rows taken out."""

from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass

from education.faults import RULES, Fault
from education.repository.tables import Reference, RosterTable
from services.kit.database import Connection, Transaction

ERRORS = [code for code, rule in RULES.items() if rule.severity == "error"]
PACKAGE_LIMIT_S = 900


@dataclass(frozen=True)
class Sheet:
    """One file of the push: how it was announced, and what its file and columns are called there."""

    table: RosterTable
    file: str
    mode: str
    headers: Mapping[str, str]
    """The file's own name of each of our columns."""


async def begin(db: Connection, source: str) -> None:
    """Lets one import of a sender after the other in, and gives this one the time a big one takes."""
    await db.execute(f"set local statement_timeout = '{PACKAGE_LIMIT_S}s'")
    await db.execute("select pg_advisory_xact_lock(hashtextextended('education roster ' || $1, 0))", source)
    await db.execute(
        """
        create temp table staged_fault (
            n integer generated always as identity, file text, line integer, column_name text,
            sourced_id text, code text not null, value text, about jsonb not null default '{}'
        ) on commit drop;
        create temp table staged_org (sourced_id text primary key) on commit drop;
        create temp table touched_user (sourced_id text not null) on commit drop;
        """
    )


async def copy_in(
    db: Transaction, table: RosterTable, columns: Sequence[str], chunks: AsyncIterable[bytes]
) -> None:
    """Takes the rows of a file, already in COPY's CSV form."""
    common = "line integer not null, digest bytea not null, status text not null, modified timestamptz"
    own = "".join(f", {name} {kind}" for name, kind in table.columns.items())
    further = "".join(f", {name} {kind}" for name, kind in table.staged_only.items())
    await db.execute(
        f"create temp table {table.staged} ({common}, sourced_id text not null{own}, extra jsonb{further})"
        " on commit drop"
    )
    await db.copy_to_table(table.staged, source=chunks, columns=columns, format="csv")
    await db.execute(f"analyze {table.staged}")


async def copy_faults(db: Transaction, columns: Sequence[str], chunks: AsyncIterable[bytes]) -> None:
    await db.copy_to_table("staged_fault", source=chunks, columns=columns, format="csv")


async def add_faults(db: Connection, faults: Sequence[Fault]) -> None:
    if faults:
        await db.copy_records_to_table(
            "staged_fault",
            records=[
                (f.file, f.line, f.column, f.sourced_id, f.code, f.value, dict(f.about)) for f in faults
            ],
            columns=("file", "line", "column_name", "sourced_id", "code", "value", "about"),
        )


async def count_errors(db: Connection, codes: Sequence[str] | None = None) -> int:
    """How many errors there are so far, of these codes."""
    wanted = list(codes) if codes is not None else ERRORS
    found = await db.fetchval("select count(*) from staged_fault where code = any($1)", wanted)
    return int(found)


async def check_doubles(db: Connection, sheet: Sheet) -> None:
    """A sourcedId that stands in several rows: none of them can be preferred."""
    await db.execute(
        f"""
        insert into staged_fault (file, line, column_name, sourced_id, code, about)
        select $1, s.line, 'sourcedId', s.sourced_id, 'duplicate_sourced_id',
               jsonb_build_object('lines', array_to_string(d.lines, ', '))
        from {sheet.table.staged} s
        join (
            select sourced_id, array_agg(line order by line) as lines
            from {sheet.table.staged} group by sourced_id having count(*) > 1
        ) d using (sourced_id)
        """,
        sheet.file,
    )


async def check_references(
    db: Connection, sheet: Sheet, sheets: Mapping[str, Sheet], source: str, *, after_refusals: bool
) -> int:
    """Faults of rows that point to nothing, or to something ended. Returns how many.

    A file that is sent whole answers for itself: what it refers to stands in the push. Where the other file
    is a delta or was not sent, what is kept counts too.

    Args:
        after_refusals: rows were taken out of the push; what pointed to them may still hold by what is kept.
    """
    found = 0
    for reference in sheet.table.references:
        found += await _check_reference(
            db, sheet, reference, sheets.get(reference.target), source, after_refusals
        )
    return found


async def _check_reference(
    db: Connection,
    sheet: Sheet,
    reference: Reference,
    target: Sheet | None,
    source: str,
    after_refusals: bool,
) -> int:
    name = reference.target
    is_kept = (
        f"exists (select from {name} k where k.source = given.source"
        " and k.sourced_id = e.value and k.status = 'active')"
    )
    is_refused = "false"
    if target is not None:
        is_refused = (
            f"exists (select from staged_fault f where f.file = '{target.file}'"
            " and f.sourced_id = e.value and f.code = any(given.errors))"
        )
    if target is None or target.mode == "delta":
        holds = is_kept
    elif after_refusals:
        holds = f"{is_refused} and {is_kept}"
    else:
        # The first pass names the row that is wrong, not every row that depends on it.
        holds = is_refused
    each = f"unnest(s.{reference.column})" if reference.many else f"(values (s.{reference.column}))"
    staged = target.table.staged if target else "(select null::text as sourced_id, null::text as status)"
    status = await db.execute(
        f"""
        with given as (select $2::text as source, $3::text[] as errors)
        insert into staged_fault (file, line, column_name, sourced_id, code, value, about)
        select $1, s.line, $4, s.sourced_id,
               case when x.status = 'tobedeleted' then 'reference_to_ended'
                    when {is_refused} then 'reference_to_refused'
                    else 'reference_to_nothing' end,
               left(e.value, 60),
               jsonb_build_object('column', $4::text, 'target', $5::text, 'value', left(e.value, 60))
        from given cross join {sheet.table.staged} s
        cross join lateral {each} as e(value)
        left join {staged} x on x.sourced_id = e.value
        where s.status = 'active' and e.value is not null and x.status is distinct from 'active'
          and (x.status is not null or not ({holds}))
        """,
        sheet.file,
        source,
        ERRORS,
        sheet.headers[reference.column],
        target.file if target else sheet.headers[reference.column],
    )
    return _count(status)


async def check_parents(db: Connection, sheet: Sheet) -> None:
    """Organisations that are their own ancestors."""
    await db.execute(
        f"""
        with recursive up as (
            select sourced_id as start, parent_sourced_id as at, 1 as height
            from {sheet.table.staged} where parent_sourced_id is not null and status = 'active'
            union all
            select up.start, s.parent_sourced_id, up.height + 1
            from up join {sheet.table.staged} s on s.sourced_id = up.at
            where s.parent_sourced_id is not null and up.at <> up.start and up.height < 64
        )
        insert into staged_fault (file, line, column_name, sourced_id, code)
        select $1, s.line, $2, s.sourced_id, 'parent_cycle'
        from {sheet.table.staged} s where s.sourced_id in (select start from up where at = start)
        """,
        sheet.file,
        sheet.headers["parent_sourced_id"],
    )


async def take_out_refused(db: Connection, sheet: Sheet) -> int:
    """Removes the rows with an error from the push. Returns how many went."""
    status = await db.execute(
        f"""
        delete from {sheet.table.staged} s
        where s.line in (select line from staged_fault where file = $1 and code = any($2))
        """,
        sheet.file,
        ERRORS,
    )
    return _count(status)


async def refused_rows(db: Connection, sheet: Sheet) -> int:
    """How many lines of the file have an error."""
    found = await db.fetchval(
        "select count(distinct line) from staged_fault where file = $1 and code = any($2)", sheet.file, ERRORS
    )
    return int(found)


async def nameless_refusals(db: Connection, sheet: Sheet) -> bool:
    """Whether some refused row cannot be told by its id: any kept row may be the one it meant."""
    found = await db.fetchval(
        "select exists (select from staged_fault where file = $1 and sourced_id is null and code = any($2))",
        sheet.file,
        ERRORS,
    )
    return bool(found)


async def declare_scope(db: Connection, sheets: Mapping[str, Sheet]) -> None:
    """The organisations the push speaks for: those in its orgs file, else those its rows belong to."""
    if "organisation" in sheets:
        await db.execute("insert into staged_org select distinct sourced_id from staged_organisation")
        return
    for sheet in sheets.values():
        if "org_sourced_id" in sheet.table.columns:
            await db.execute(
                f"insert into staged_org select distinct org_sourced_id from {sheet.table.staged}"
                " where org_sourced_id is not null on conflict do nothing"
            )


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
