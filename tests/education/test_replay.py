"""The tables are a fold over the imports: applied again from their kept bytes, they come out the same."""

from typing import Any

from education import imports
from education.oneroster.reading import ONEROSTER_CSV
from tests.education.conftest import Sender
from tests.education.test_imports import without

TABLES = (
    "organisation", "academic_session", "course", "class", "account", "role", "class_enrolment",
    "demographics",
)  # fmt: skip


async def test_replaying_all_imports_gives_the_same_tables(sender: Sender) -> None:
    roster = sender.roster(schools=["s-1", "s-2"], pupils=20)
    await sender.pushed(roster)
    roster.rows["users"][0] |= {"grades": "07", "givenName": "升学"}
    roster.rows["roles"][1] |= {"orgSourcedId": "s-2", "beginDate": "2026-10-01"}
    roster.rows["users"][2]["enabledUser"] = "vielleicht"
    await sender.pushed(roster, "accept-valid")
    await sender.pushed(without(roster, f"u-{sender.first + 5}", f"u-{sender.first + 2}"))
    before = await _state(sender)

    kit = sender.house.services.kit("education")
    batches = await sender.house.db.fetch(
        "select id from import_batch where source = $1 and applied_seq is not null order by applied_seq",
        sender.name,
    )
    assert len(batches) == 3
    async with kit.db.transaction() as tx:
        mine = f"(select id from {{}} where source = '{sender.name}')"
        await tx.execute(f"delete from episode_grade where episode_id in {mine.format('enrolment_episode')}")
        await tx.execute(f"delete from import_fault where import_id in {mine.format('import_batch')}")
        for table in ("enrolment_episode", *TABLES):
            await tx.execute(f"delete from {table} where source = '{sender.name}'")
    for batch in batches:
        async with kit.db.transaction() as tx:
            await imports.replay(kit, tx, batch["id"], dialect=ONEROSTER_CSV)
    assert await _state(sender) == before


async def _state(sender: Sender) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for table in TABLES:
        rows = await sender.rows(table)
        kept = [{k: v for k, v in row.items() if table != "organisation" or k != "id"} for row in rows]
        found[table] = kept
    rows = await sender.house.db.fetch(
        """
        select e.learner_id, o.sourced_id as school, e.stage, e.grade, e.valid_from, e.valid_to, e.from_basis,
               e.entry_reason, e.exit_reason, e.is_primary, e.rank, e.role_sourced_id, e.import_id,
               (select array_agg((g.grade, g.since)::text order by g.since) from episode_grade g
                where g.episode_id = e.id) as grades
        from enrolment_episode e join organisation o on o.id = e.organisation_id
        where e.source = $1 order by e.role_sourced_id, e.valid_from, e.valid_to
        """,
        sender.name,
    )
    found["episodes"] = [dict(row) for row in rows]
    return found
