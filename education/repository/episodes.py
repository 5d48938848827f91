"""Enrolment episodes: what a learner's roles, grades and schools amount to over time.

An episode follows a student role at a school through one stage. It ends when the role does, and gives way to
a new one when the school or the stage changes; within it, grades follow one another. What lies behind is not
rewritten, only the open end is. All statements work on the users in `touched_user` at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from services.kit.database import Connection


@dataclass(frozen=True)
class Refreshed:
    opened: int = 0
    closed: int = 0
    provisional: int = 0


async def refresh(
    db: Connection, source: str, import_id: UUID, *, today: date, stages: Mapping[str, str]
) -> Refreshed:
    """Brings the episodes of the touched users in line with their roles."""
    if not await db.fetchval("select exists (select from touched_user)"):
        return Refreshed()
    await db.execute("analyze touched_user")
    await _compare(db, source, today, stages)
    await _lock_learners(db)
    await _give_to_right_learner(db, source)
    closed = await _close_ended(db)
    await _adjust_running(db)
    closed += await _close_changed(db)
    opened = await _open(db, source, import_id)
    await _choose_primary(db)
    opened += await _promote_waiting(db, import_id)
    await _note_grades(db, import_id, today)
    provisional = await db.fetchval(
        """
        select count(*) from enrolment_episode e
        where e.import_id = $1 and not e.is_primary and e.rank < 2 and e.valid_to is null
        """,
        import_id,
    )
    return Refreshed(opened, closed, int(provisional))


async def _compare(db: Connection, source: str, today: date, stages: Mapping[str, str]) -> None:
    """What should be, beside the latest episode there is, and the day on which a change takes effect.

    `differs`: another school or stage than the latest episode. `returns`: the role begins anew after the
    latest episode ended. `changes_on` is null where the difference corrects an episode of today.
    """
    await db.execute(
        """
        create temp table compared (
            role_sourced_id text primary key, learner_id text not null, organisation_id uuid not null,
            grade text, stage text, begin_date date, end_date date, active boolean not null, rank smallint,
            year_start date, today date not null,
            latest_id uuid, was_learner text, was_organisation uuid, was_from date, was_to date,
            episodes bigint, differs boolean not null, returns boolean not null, changes_on date
        ) on commit drop
        """
    )
    await db.execute(
        """
        insert into compared
        with wanted as (
            select r.sourced_id as role_sourced_id, a.learner_id, o.id as organisation_id,
                   a.grades[1] as grade, g.stage, r.begin_date, r.end_date,
                   -- Organisations above, beside or below schools enrol nobody.
                   r.status = 'active' and a.status = 'active' and o.status = 'active'
                       and r.role = 'student' and (o.type = 'school' or o.type like 'ext:%') as active,
                   (case when r.role_type <> 'primary' then 2
                         when a.primary_org_sourced_id = r.org_sourced_id then 0 else 1 end)::smallint as rank
            from role r
            join account a on a.source = r.source and a.sourced_id = r.user_sourced_id
            join organisation o on o.source = r.source and o.sourced_id = r.org_sourced_id
            left join unnest($3::text[], $4::text[]) as g(grade, stage) on g.grade = a.grades[1]
            where r.source = $1 and a.learner_id is not null
              and r.user_sourced_id in (select sourced_id from touched_user)
        ),
        latest as (
            select distinct on (e.role_sourced_id)
                   e.*, count(*) over (partition by e.role_sourced_id) as episodes
            from enrolment_episode e
            where e.source = $1 and e.role_sourced_id in (select role_sourced_id from wanted)
            order by e.role_sourced_id, e.valid_from desc, e.valid_to desc nulls first
        ),
        year as (
            select max(start_date) as start from academic_session
            where source = $1 and type = 'schoolYear' and status = 'active' and start_date <= $2
        )
        select w.role_sourced_id, w.learner_id, w.organisation_id, w.grade, w.stage, w.begin_date, w.end_date,
               w.active, w.rank, year.start, $2,
               l.id, l.learner_id, l.organisation_id, l.valid_from, l.valid_to, l.episodes,
               l.id is not null
                   and (l.organisation_id <> w.organisation_id or l.stage is distinct from w.stage),
               coalesce(w.begin_date >= l.valid_to and l.valid_to > l.valid_from, false),
               case when w.begin_date > l.valid_from then w.begin_date
                    when year.start > l.valid_from then year.start
                    when $2 > l.valid_from then $2 end
        from wanted w left join latest l using (role_sourced_id) cross join year
        """,
        source,
        today,
        list(stages),
        list(stages.values()),
    )
    await db.execute(
        """
        create temp table affected_learner on commit drop as
        select learner_id from compared
        union select was_learner from compared where was_learner is not null
        """
    )
    await db.execute("analyze compared, affected_learner")


async def _lock_learners(db: Connection) -> None:
    """Which episode is primary is decided for one learner at a time, whoever pushes."""
    await db.execute(
        """
        select from learner where id in (select learner_id from affected_learner)
        order by id for no key update
        """
    )


async def _give_to_right_learner(db: Connection, source: str) -> None:
    """Identity has told two people apart, or found two to be one: the role's whole past goes along."""
    await db.execute(
        """
        update enrolment_episode e set learner_id = c.learner_id, is_primary = false
        from compared c
        where e.source = $1 and e.role_sourced_id = c.role_sourced_id and c.was_learner <> c.learner_id
        """,
        source,
    )


async def _close_ended(db: Connection) -> int:
    status = await db.execute(
        """
        update enrolment_episode e set valid_to = c.closes_on, exit_reason = 'ended'
        from (
            select latest_id, greatest(was_from, least(coalesce(end_date, today), today)) as closes_on
            from compared where not active and latest_id is not null
        ) c
        where e.id = c.latest_id and (e.valid_to is null or e.valid_to > c.closes_on)
        """
    )
    return _count(status)


async def _adjust_running(db: Connection) -> None:
    """The open end follows the role's; so does the beginning, as long as nothing came before it."""
    await db.execute(
        """
        update enrolment_episode e
        set organisation_id = c.organisation_id, grade = c.grade, stage = c.stage, rank = c.rank,
            valid_from = c.starts_on, valid_to = c.ends_on,
            exit_reason = case when c.ends_on is not null then 'ended' end,
            from_basis = case when c.starts_on = c.begin_date then 'sent' else e.from_basis end,
            -- Longer than before it may meet another primary episode: it is chosen again below.
            is_primary = e.is_primary and (e.organisation_id, e.rank, e.valid_from, e.valid_to)
                is not distinct from (c.organisation_id, c.rank, c.starts_on, c.ends_on)
        from (
            select *, case when end_date is not null then greatest(end_date, starts_on) end as ends_on
            from (
                select *, case when episodes = 1 and begin_date is not null then begin_date else was_from end
                          as starts_on
                from compared
                where active and latest_id is not null and not returns and (not differs or changes_on is null)
            ) running
        ) c
        where e.id = c.latest_id
          and (e.organisation_id, e.stage, e.grade, e.rank, e.valid_from, e.valid_to)
              is distinct from (c.organisation_id, c.stage, c.grade, c.rank, c.starts_on, c.ends_on)
        """
    )


async def _close_changed(db: Connection) -> int:
    status = await db.execute(
        """
        update enrolment_episode e
        set valid_to = c.changes_on,
            exit_reason = case when c.was_organisation <> c.organisation_id then 'moved'
                               else 'stage_changed' end
        from compared c
        where e.id = c.latest_id and c.active and c.differs and not c.returns and c.changes_on is not null
          and (e.valid_to is null or e.valid_to > c.changes_on)
        """
    )
    return _count(status)


async def _open(db: Connection, source: str, import_id: UUID) -> int:
    status = await db.execute(
        """
        insert into enrolment_episode (
            learner_id, organisation_id, stage, grade, valid_from, valid_to, from_basis, entry_reason,
            exit_reason, rank, source, role_sourced_id, import_id, is_primary
        )
        select learner_id, organisation_id, stage, grade, starts_on,
               case when end_date is not null then greatest(end_date, starts_on) end,
               case starts_on when begin_date then 'sent' when year_start then 'school_year'
                              else 'received' end,
               case when latest_id is null or not differs then 'enrolled'
                    when was_organisation <> organisation_id then 'moved' else 'stage_changed' end,
               case when end_date is not null then 'ended' end,
               rank, $1, role_sourced_id, $2,
               -- Nearly everybody's case, and much cheaper than choosing afterwards.
               rank < 2 and count(*) over (partition by learner_id) = 1 and not exists (
                   select from enrolment_episode p where p.learner_id = c.learner_id and p.is_primary
               )
        from (
            select *, case when latest_id is null
                           then coalesce(begin_date, least(coalesce(year_start, today), end_date))
                           when returns then begin_date else changes_on end as starts_on
            from compared
            where active and (latest_id is null or returns or differs and changes_on is not null)
        ) c
        """,
        source,
        import_id,
    )
    return _count(status)


async def _choose_primary(db: Connection) -> None:
    """Makes primary what can be, the sender's own choice first, never two at a time.

    Each round takes one episode of each learner, so a handful of rounds serves everybody.
    """
    while True:
        status = await db.execute(
            """
            update enrolment_episode e set is_primary = true
            from (
                select distinct on (c.learner_id) c.id from enrolment_episode c
                where c.learner_id in (select learner_id from affected_learner)
                  and not c.is_primary and c.rank < 2 and (c.valid_to is null or c.valid_to > c.valid_from)
                  and not exists (
                      select from enrolment_episode p
                      where p.learner_id = c.learner_id and p.is_primary
                        and daterange(p.valid_from, p.valid_to) && daterange(c.valid_from, c.valid_to)
                  )
                order by c.learner_id, c.rank, c.valid_from, c.id
            ) chosen
            where e.id = chosen.id
            """
        )
        if _count(status) == 0:
            return


async def _promote_waiting(db: Connection, import_id: UUID) -> int:
    """A provisional episode whose rival has ended becomes primary from that day on."""
    promoted = 0
    while True:
        status = await db.execute(
            """
            with waiting as (
                select distinct on (c.learner_id) c.*, rival.until
                from enrolment_episode c
                cross join lateral (
                    select max(p.valid_to) as until, bool_and(p.valid_to is not null) as all_ended
                    from enrolment_episode p
                    where p.learner_id = c.learner_id and p.is_primary
                      and daterange(p.valid_from, p.valid_to) && daterange(c.valid_from, c.valid_to)
                ) rival
                where c.learner_id in (select learner_id from affected_learner)
                  and not c.is_primary and c.rank < 2 and rival.all_ended
                  and (c.valid_to is null or c.valid_to > rival.until)
                order by c.learner_id, c.rank, c.valid_from, c.id
            ),
            shortened as (
                update enrolment_episode e set valid_to = w.until, exit_reason = 'became_primary'
                from waiting w where e.id = w.id
            )
            insert into enrolment_episode (
                learner_id, organisation_id, stage, grade, valid_from, valid_to, from_basis, entry_reason,
                exit_reason, is_primary, rank, source, role_sourced_id, import_id
            )
            select learner_id, organisation_id, stage, grade, until, valid_to, from_basis, 'became_primary',
                   exit_reason, true, rank, source, role_sourced_id, $1
            from waiting
            """,
            import_id,
        )
        promoted += _count(status)
        if _count(status) == 0:
            return promoted


async def _note_grades(db: Connection, import_id: UUID, today: date) -> None:
    """Remembers since when a grade holds: the school year's start at first, later the day it changed."""
    await db.execute(
        """
        with running as (
            select e.id, e.grade, e.valid_from,
                   greatest(e.valid_from, coalesce((select max(year_start) from compared), $2)) as since
            from enrolment_episode e
            where e.learner_id in (select learner_id from affected_learner)
              and e.valid_to is null and e.grade is not null
        )
        insert into episode_grade (episode_id, since, grade, import_id)
        select r.id, case when l.since is null or l.since < r.since then r.since
                          else greatest($2, l.since) end, r.grade, $1
        from running r
        left join lateral (
            select g.since, g.grade from episode_grade g
            where g.episode_id = r.id order by g.since desc limit 1
        ) l on true
        where l.grade is distinct from r.grade
        on conflict (episode_id, since) do update set grade = excluded.grade, import_id = excluded.import_id
        """,
        import_id,
        today,
    )


async def note_provisional(db: Connection, import_id: UUID, file: str, column: str) -> None:
    """Says of each new provisional episode that the pupil is still enrolled elsewhere."""
    await db.execute(
        """
        insert into staged_fault (file, line, column_name, sourced_id, code)
        select $2, r.line, $3, r.sourced_id, 'enrolled_elsewhere'
        from enrolment_episode e
        join role r on r.source = e.source and r.sourced_id = e.role_sourced_id
        where e.import_id = $1 and not e.is_primary and e.rank < 2 and e.valid_to is null
        order by r.line
        """,
        import_id,
        file,
        column,
    )


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
