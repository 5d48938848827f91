"""What may be read: a learner's own record, and a sender's organisations."""

from services.kit.database import Connection, Row
from services.kit.principals import Principal


def readable(who: Principal) -> list[str]:
    """The learners whose records the caller may read; every read of a record begins with these.

    A person reads their own. Guardians come in here, once identity says which wards a session may act for.
    """
    return list(who.sector_ids)


async def known(db: Connection, readable: list[str]) -> bool:
    return bool(await db.fetchval("select exists (select from learner where id = any($1))", readable))


async def episodes(db: Connection, readable: list[str]) -> list[Row]:
    """Newest first; a life has a few dozen."""
    return await db.fetch(
        """
        select e.id, e.stage, e.grade, e.valid_from, e.from_basis, e.valid_to, e.is_primary,
               e.entry_reason, e.exit_reason,
               coalesce((select jsonb_agg(jsonb_build_array(g.grade, g.since) order by g.since)
                         from episode_grade g where g.episode_id = e.id), '[]') as grades,
               o.id as organisation_id, o.name, o.type, o.identifier
        from enrolment_episode e join organisation o on o.id = e.organisation_id
        where e.learner_id = any($1)
          and (e.valid_to is null or e.valid_to > e.valid_from)
        order by e.valid_from desc, e.is_primary desc, e.id
        """,
        readable,
    )


async def classes(
    db: Connection, readable: list[str], *, after: tuple[str, str, str] | None, limit: int
) -> list[Row]:
    """Places in classes by the learner's accounts at all schools, newest first.

    The sort key is (date of beginning, else of the push; source; sourcedId).
    """
    since, source, sourced_id = after or ("", "", "")
    return await db.fetch(
        """
        select * from (
            select m.source, m.sourced_id, c.title, k.title as course, o.name as school, m.role,
                   m.begin_date, m.end_date, m.status = 'active' as open,
                   coalesce(m.begin_date, t.begins, '0001-01-01')::text as since,
                   coalesce(t.titles, '{}') as terms
            from account a
            join class_enrolment m on m.source = a.source and m.user_sourced_id = a.sourced_id
            join class c on c.source = m.source and c.sourced_id = m.class_sourced_id
            join organisation o on o.source = m.source and o.sourced_id = m.org_sourced_id
            left join course k on k.source = c.source and k.sourced_id = c.course_sourced_id
            left join lateral (
                select array_agg(s.title order by s.start_date, s.sourced_id) as titles,
                       min(s.start_date) as begins
                from academic_session s
                where s.source = c.source and s.sourced_id = any(c.term_sourced_ids)
            ) t on true
            where a.learner_id = any($1)
        ) places
        where $2 = '' or (since, source, sourced_id) < ($2, $3, $4)
        order by since desc, source desc, sourced_id desc
        limit $5
        """,
        readable,
        since,
        source,
        sourced_id,
        limit,
    )


async def organisations(db: Connection, source: str, *, after: str, limit: int) -> list[Row]:
    return await db.fetch(
        """
        select id, sourced_id, name, type, identifier, parent_sourced_id, status from organisation
        where source = $1 and sourced_id > $2 order by sourced_id limit $3
        """,
        source,
        after,
        limit,
    )
