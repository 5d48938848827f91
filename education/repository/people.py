"""Which of the pushed users are learners, and which person in the population register each of them is."""

from collections.abc import Sequence
from uuid import UUID

from education.repository.staging import Sheet
from services.kit import renewal
from services.kit.database import Connection, Row

_IS_PUPIL = """
    exists (select from {roles} r where {of_source} r.user_sourced_id = u.sourced_id
            and r.role = 'student' and r.status = 'active')
"""
_KEPT_USERS = """
    select a.sourced_id, null::integer as line, null::jsonb as identifiers, a.identity_digest,
           a.family_name, a.given_name
    from account a
    where a.source = $1 and a.status = 'active' and a.learner_id is null
"""
_STAGED_USERS = """
    select s.sourced_id, s.line, s.identifiers, s.identity_digest, s.family_name, s.given_name
    from staged_account s left join account a on a.source = $1 and a.sourced_id = s.sourced_id
    where s.status = 'active'
      and (a.learner_id is null or a.identity_digest is distinct from s.identity_digest)
"""


async def find_unresolved(db: Connection, source: str, *, staged: frozenset[str]) -> int:
    """Learners whose person is not known yet, or whose national numbers changed, into `to_resolve`.

    Users who only teach, administer or are relatives are not looked up: their school knows them, and the
    population register has no need to hear of it.

    Args:
        staged: the tables that the push holds.

    Returns:
        How many there are.
    """
    users = _KEPT_USERS
    if "account" in staged:
        users = f"""
            {_STAGED_USERS} union all {_KEPT_USERS}
            and not exists (select from staged_account s where s.sourced_id = a.sourced_id)
        """
    pupil = _IS_PUPIL.format(roles="role", of_source="r.source = $1 and")
    if "role" in staged:
        pupil += " or " + _IS_PUPIL.format(roles="staged_role", of_source="")
    born, demographics = "d.birth_date, d.sex", ""
    if "demographics" in staged:
        born = "coalesce(sd.birth_date, d.birth_date) as birth_date, coalesce(sd.sex, d.sex) as sex"
        demographics = "left join staged_demographics sd on sd.sourced_id = u.sourced_id"
    await db.execute(
        """
        create temp table to_resolve (
            n integer primary key, sourced_id text not null, line integer, identifiers jsonb,
            identity_digest bytea, family_name text, given_name text, birth_date date, sex text
        ) on commit drop;
        create temp table resolved (n integer primary key, learner_id text not null) on commit drop;
        """
    )
    status = await db.execute(
        f"""
        insert into to_resolve
        select row_number() over (order by u.sourced_id), u.*, {born}
        from ({users}) u
        left join demographics d on d.source = $1 and d.sourced_id = u.sourced_id {demographics}
        where {pupil}
        """,
        source,
    )
    return _count(status)


async def unresolved(db: Connection, first: int, last: int) -> list[Row]:
    return await db.fetch(
        """
        select n, sourced_id, line, identifiers, family_name, given_name, birth_date, sex
        from to_resolve where n between $1 and $2 order by n
        """,
        first,
        last,
    )


async def keep_resolved(db: Connection, found: Sequence[tuple[int, str]]) -> None:
    await db.copy_records_to_table("resolved", records=found, columns=("n", "learner_id"))


async def check_doubles(db: Connection, sheet: Sheet) -> int:
    """Users of one push that turned out to be the same person."""
    await db.execute(
        """
        create temp table doubled on commit drop as
        select r.learner_id, min(u.sourced_id) as first, max(u.sourced_id) as last
        from resolved r join to_resolve u using (n) where u.line is not null
        group by r.learner_id having count(*) > 1
        """
    )
    status = await db.execute(
        """
        insert into staged_fault (file, line, column_name, sourced_id, code, about)
        select $1, u.line, 'userIds', u.sourced_id, 'duplicate_person',
               jsonb_build_object('other', case u.sourced_id when d.first then d.last else d.first end)
        from doubled d join resolved r using (learner_id) join to_resolve u using (n)
        where u.line is not null
        """,
        sheet.file,
    )
    await db.execute("delete from resolved where learner_id in (select learner_id from doubled)")
    return _count(status)


async def make_learners(db: Connection, import_id: UUID, *, staged: bool) -> None:
    """Makes the learners, and tells the staged users whom they are, so that they are written with it."""
    await renewal.settle(db, "resolved", "learner_id", tables=["learner"])
    # In the order of ids, like every lock on learners: two senders may bring the same children at once.
    await db.execute(
        """
        insert into learner (id, first_import_id)
        select learner_id, $1::uuid from (select distinct learner_id from resolved) r order by learner_id
        on conflict do nothing
        """,
        import_id,
    )
    if staged:
        await db.execute(
            """
            update staged_account s set learner_id = r.learner_id
            from to_resolve u join resolved r using (n) where s.line = u.line
            """
        )


async def link(db: Connection, source: str) -> None:
    """Ties the accounts that were there before to their learners."""
    await db.execute(
        """
        with changed as (
            update account a set learner_id = r.learner_id, identity_digest = u.identity_digest
            from to_resolve u join resolved r using (n)
            where a.source = $1 and a.sourced_id = u.sourced_id
              and (a.learner_id, a.identity_digest) is distinct from (r.learner_id, u.identity_digest)
            returning a.sourced_id
        )
        insert into touched_user select sourced_id from changed
        """,
        source,
    )


async def subjects(db: Connection, source: str) -> list[str]:
    """The learners whose records the import may have changed."""
    rows = await db.fetch(
        """
        select distinct a.learner_id from touched_user u
        join account a on a.source = $1 and a.sourced_id = u.sourced_id
        where a.learner_id is not null
        """,
        source,
    )
    return [row["learner_id"] for row in rows]


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
