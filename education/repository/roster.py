"""The difference between what was pushed and what is kept: counted first, then applied, set by set."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from education.repository.staging import ERRORS, Sheet
from education.repository.tables import TABLES, RosterTable
from services.kit.database import Connection, Row

# A row with an older dateLastModified than the kept one says nothing new.
_STALE = "coalesce(s.modified < t.modified, false)"
_DIFFERS = "(t.digest <> s.digest or t.status <> s.status)"


@dataclass(frozen=True)
class Difference:
    """What applying a file would do, by row."""

    inserted: int
    updated: int
    unchanged: int
    ended: int
    stale: int

    @property
    def rows(self) -> int:
        return self.inserted + self.updated + self.unchanged + self.ended


async def difference(db: Connection, table: RosterTable, source: str) -> Difference:
    """Counts what `apply` will do; each staged row falls into exactly one of the four classes."""
    row = await db.fetchrow(
        f"""
        select
            count(*) filter (where t.sourced_id is null and s.status = 'active') as inserted,
            count(*) filter (where t.sourced_id is not null and {_DIFFERS} and not {_STALE}
                               and s.status = 'active') as updated,
            count(*) filter (where t.sourced_id is not null and ({_STALE} or not {_DIFFERS})) as unchanged,
            count(*) filter (where s.status <> 'active'
                               and (t.sourced_id is null or {_DIFFERS} and not {_STALE})) as ended,
            count(*) filter (where t.sourced_id is not null and {_STALE}) as stale
        from {table.staged} s
        left join {table.name} t on t.source = $1 and t.sourced_id = s.sourced_id
        """,
        source,
    )
    assert row is not None
    return Difference(**dict(row))


async def note_stale(db: Connection, sheet: Sheet, source: str) -> None:
    await db.execute(
        f"""
        insert into staged_fault (file, line, column_name, sourced_id, code)
        select $1, s.line, 'dateLastModified', s.sourced_id, 'stale'
        from {sheet.table.staged} s
        join {sheet.table.name} t on t.source = $2 and t.sourced_id = s.sourced_id and {_STALE}
        """,
        sheet.file,
        source,
    )


async def note_touched(db: Connection, table: RosterTable, source: str) -> None:
    """Remembers the users whose enrolment the difference may change, both before and after it."""
    if table.user_column is None:
        return
    changes = f"(t.sourced_id is null or {_DIFFERS} and not {_STALE})"
    await db.execute(
        f"""
        insert into touched_user
        select s.{table.user_column} from {table.staged} s
        left join {table.name} t on t.source = $1 and t.sourced_id = s.sourced_id where {changes}
        union
        select t.{table.user_column} from {table.staged} s
        join {table.name} t on t.source = $1 and t.sourced_id = s.sourced_id where {changes}
        """,
        source,
    )


async def touch_users_of_changed_organisations(db: Connection, source: str) -> None:
    """An organisation that ends, or becomes or ceases to be a school, changes its pupils' episodes."""
    await db.execute(
        f"""
        insert into touched_user
        select r.user_sourced_id from role r
        join organisation t on t.source = $1 and t.sourced_id = r.org_sourced_id
        join staged_organisation s on s.sourced_id = t.sourced_id
        where r.source = $1 and (t.type <> s.type or t.status <> s.status) and not {_STALE}
        """,
        source,
    )


async def apply(db: Connection, table: RosterTable, source: str, import_id: UUID) -> tuple[int, int]:
    """Writes the staged rows that are new or differ. Returns how many were changed and how many added."""
    columns = table.kept_columns
    changed = await db.execute(
        f"""
        update {table.name} t
        set ({", ".join(columns)}, import_id) = ({", ".join(f"s.{c}" for c in columns)}, $2)
        from {table.staged} s
        where t.source = $1 and t.sourced_id = s.sourced_id and {_DIFFERS} and not {_STALE}
        """,
        source,
        import_id,
    )
    added = await db.execute(
        f"""
        insert into {table.name} (source, sourced_id, import_id, {", ".join([*columns, *table.derived])})
        select $1, s.sourced_id, $2, {", ".join([*(f"s.{c}" for c in columns), *table.derived.values()])}
        from {table.staged} s
        where not exists (select from {table.name} t where t.source = $1 and t.sourced_id = s.sourced_id)
        """,
        source,
        import_id,
    )
    return _count(changed), _count(added)


async def tell_planner(db: Connection, table: RosterTable) -> None:
    # Its lock would last until the commit: another sender's import passes by rather than wait for it.
    await db.execute(f"analyze (skip_locked) {table.name}")


_OF_SCOPE_USER = """
    exists (select from role r where r.source = $1 and r.user_sourced_id = {user} and r.status = 'active')
    and not exists (
        select from role r where r.source = $1 and r.user_sourced_id = {user} and r.status = 'active'
        and r.org_sourced_id not in (select sourced_id from staged_org)
    )
"""
_EVERYTHING = """
    not exists (
        select from organisation o where o.source = $1 and o.status = 'active'
        and o.sourced_id not in (select sourced_id from staged_org)
    )
"""
# Which kept rows a whole file speaks for: those of the organisations it was sent for. What belongs to no
# organisation (sessions, users without a role) only a push for all the sender's organisations speaks for.
_SCOPE: Mapping[str, str] = {
    "organisation": "t.parent_sourced_id in (select sourced_id from staged_org)",
    "academic_session": _EVERYTHING,
    "course": "t.org_sourced_id in (select sourced_id from staged_org)",
    "class": "t.org_sourced_id in (select sourced_id from staged_org)",
    "account": f"({_OF_SCOPE_USER.format(user='t.sourced_id')} or {_EVERYTHING})",
    "user_profile": f"({_OF_SCOPE_USER.format(user='t.user_sourced_id')} or {_EVERYTHING})",
    "role": "t.org_sourced_id in (select sourced_id from staged_org)",
    "class_enrolment": "t.org_sourced_id in (select sourced_id from staged_org)",
    "demographics": f"({_OF_SCOPE_USER.format(user='t.sourced_id')} or {_EVERYTHING})",
}


@dataclass(frozen=True)
class Vanished:
    rows: int
    of: int
    """How many active rows the file speaks for, the vanished included."""


async def find_vanished(db: Connection, sheet: Sheet, source: str) -> Vanished:
    """Kept rows that the file speaks for and does not mention, into the table `vanished_<name>`.

    A row that was refused is mentioned all the same: a slip of the pen is not a departure.
    """
    table = sheet.table
    await db.execute(f"create temp table vanished_{table.name} (sourced_id text primary key) on commit drop")
    status = await db.execute(
        f"""
        insert into vanished_{table.name}
        select t.sourced_id from {table.name} t
        where t.source = $1 and t.status = 'active' and {_SCOPE[table.name]}
          and not exists (select from {table.staged} s where s.sourced_id = t.sourced_id)
          and not exists (
              select from staged_fault f
              where f.file = $2 and f.sourced_id = t.sourced_id and f.code = any($3)
          )
        """,
        source,
        sheet.file,
        ERRORS,
    )
    rows = _count(status)
    staged = await db.fetchval(f"select count(*) from {table.staged} where status = 'active'")
    return Vanished(rows, rows + int(staged))


async def propose(
    db: Connection, proposal_id: UUID, import_id: UUID, source: str, table: RosterTable, vanished: Vanished
) -> None:
    await db.execute(
        """
        insert into proposal (id, import_id, source, table_name, rows, of_rows)
        values ($1, $2, $3, $4, $5, $6)
        """,
        proposal_id,
        import_id,
        source,
        table.name,
        vanished.rows,
        vanished.of,
    )
    await db.execute(
        f"insert into proposal_row select $1, sourced_id from vanished_{table.name}", proposal_id
    )


async def settle_older_proposals(db: Connection, sheet: Sheet, source: str) -> None:
    """Open proposals give up the rows this push mentions, or misses anew; one left with none is over."""
    table = sheet.table
    missed = f"union all select sourced_id from vanished_{table.name}" if sheet.mode == "bulk" else ""
    await db.execute(
        f"""
        with spoken_of as (select sourced_id from {table.staged} {missed}),
        gone as (
            delete from proposal_row r using proposal p
            where p.id = r.proposal_id and p.source = $1 and p.table_name = $2 and p.status = 'open'
              and r.sourced_id in (select sourced_id from spoken_of)
            returning r.proposal_id, r.sourced_id
        )
        update proposal p
        set status = 'overtaken', decided_at = now()
        where p.source = $1 and p.table_name = $2 and p.status = 'open'
          and not exists (
              select from proposal_row r where r.proposal_id = p.id
              and not exists (select from gone g where g.proposal_id = p.id and g.sourced_id = r.sourced_id)
          )
        """,
        source,
        table.name,
    )


async def end_vanished(db: Connection, table: RosterTable, source: str, import_id: UUID) -> None:
    await end_rows(db, table, source, import_id, f"select sourced_id from vanished_{table.name}")


async def end_proposed(db: Connection, table: RosterTable, proposal: Row) -> int:
    """Ends what a confirmed proposal names, as far as it is still there."""
    await db.execute(
        "create temp table ending on commit drop as select sourced_id from proposal_row where proposal_id = "
        f"'{proposal['id']}'::uuid"
    )
    return await end_rows(
        db, table, proposal["source"], proposal["import_id"], "select sourced_id from ending"
    )


async def end_rows(db: Connection, table: RosterTable, source: str, import_id: UUID, which: str) -> int:
    """Ends the rows that the subquery `which` names; what belongs to an ended organisation ends with it."""
    if table.user_column is not None:
        await db.execute(
            f"""
            insert into touched_user select {table.user_column} from {table.name}
            where source = $1 and sourced_id in ({which})
            """,
            source,
        )
    if table.name == "organisation":
        for owned in (t for t in TABLES.values() if "org_sourced_id" in t.columns):
            rows = f"select sourced_id from {owned.name} where source = $1 and org_sourced_id in ({which})"
            await end_rows(db, owned, source, import_id, rows)
    status = await db.execute(
        f"""
        update {table.name} set status = 'tobedeleted', import_id = $2
        where source = $1 and status = 'active' and sourced_id in ({which})
        """,
        source,
        import_id,
    )
    return _count(status)


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


async def counts(db: Connection) -> dict[str, int]:
    """How many of each, for the start page."""
    row = await db.fetchrow(
        """select (select count(*) from learner) as learners,
                  (select count(*) from organisation where type = 'school' and status = 'active') as schools,
                  (select count(*) from enrolment_episode) as enrolments"""
    )
    return dict(row or {})
