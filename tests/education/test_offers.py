"""What education offers to other domains."""

import random
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from tests.education.conftest import NewSender
from tests.support.offers import exchange_at, fresh_at, offered

PATH = "/education/offers/enrolments"


async def test_enrolments_of_each_learner(new_sender: NewSender) -> None:
    senders = [await new_sender(), await new_sender()]
    for sender in senders:
        await sender.pushed(sender.roster())
    house = senders[0].house
    exchange = await exchange_at(house.services, "education")
    found = await offered(exchange, PATH)
    kept = await house.db.fetch("select learner_id, stage from enrolment_episode where is_primary")
    assert len(kept) > 1
    assert sorted(row["sector_id"] for row in found) == sorted(row["learner_id"] for row in kept)
    assert {row["stage"] for row in found} == {row["stage"] for row in kept}
    assert all(row["school"] for row in found)
    stage = found[0]["stage"]
    chosen = await offered(
        exchange,
        PATH,
        {"item": "stage", "op": "eq", "value": stage},
        {"item": "valid_from", "op": "le", "value": found[0]["valid_from"]},
    )
    assert found[0] in chosen
    assert chosen == [
        row for row in found if row["stage"] == stage and row["valid_from"] <= found[0]["valid_from"]
    ]
    assert (await fresh_at(house.services, "education", "/education/offers"))["enrolments"] is not None


@dataclass
class Told:
    place: str | None = None
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def all(self) -> list[dict[str, Any]]:
        return sorted((row for rows in self.rows.values() for row in rows), key=str)


async def changed(exchange: httpx.AsyncClient, told: Told, *conditions: dict[str, Any]) -> set[str]:
    """Applies what is new, as a consumer does; whose rows that was."""
    said = {"filter": orjson.dumps(conditions).decode()} if conditions else {}
    people = set()
    while True:
        params: dict[str, Any] = {"limit": 3, **said} | ({"after": told.place} if told.place else {})
        answer = (await exchange.get(f"{PATH}/changes", params=params)).json()
        for row in answer["rows"]:
            people.add(row["sector_id"])
            if any(value is not None for name, value in row.items() if name != "sector_id"):
                told.rows.setdefault(row["sector_id"], []).append(row)
            else:
                told.rows.pop(row["sector_id"], None)
        if answer["next"] is None:
            assert answer["settled"]
            return people
        told.place = answer["next"]


STEPS = (
    "update enrolment_episode set stage = $1 where learner_id = any($2)",
    "update enrolment_episode set is_primary = $1 = '1' where learner_id = any($2)",
    "update enrolment_episode set valid_from = valid_from - length($1) where learner_id = any($2)",
    "update enrolment_episode set grade = $1 where learner_id = any($2)",
    """with grades as (delete from episode_grade where episode_id in (
           select id from enrolment_episode where learner_id = any($2)))
       delete from enrolment_episode where learner_id = any($2) and $1 <> ''""",
    """insert into enrolment_episode (learner_id, organisation_id, stage, valid_from, from_basis,
                                      entry_reason, is_primary, rank, source, role_sourced_id, import_id)
       select learner, (select id from organisation order by id limit 1), $1, date '2040-09-01', 'sent',
              'enrolled', true, 0, 'test', learner, gen_random_uuid()
       from unnest($2::text[]) as learner where not exists (
           select from enrolment_episode where learner_id = learner and is_primary and valid_to is null)""",
    "update organisation set name = name || $1 where $2::text[] is not null",
)


async def test_changes_in_order_bring_whoever_follows_to_what_is_offered(new_sender: NewSender) -> None:
    """Whatever is done to episodes and schools; with conditions nobody else's people are told of."""
    sender = await new_sender()
    await sender.pushed(sender.roster())
    house, chance = sender.house, random.Random(5)
    exchange = await exchange_at(house.services, "education")
    second = {"item": "stage", "op": "eq", "value": "2"}
    whole, some = Told(), Told()
    learners = [row["id"] for row in await house.db.fetch("select id from learner order by id")]
    for _ in range(15):
        before = {row["sector_id"] for row in await offered(exchange, PATH, second)}
        async with house.db.transaction():
            for step in chance.choices(STEPS, k=2):
                chosen = chance.sample(learners, k=chance.randint(1, 3))
                await house.db.execute(step, chance.choice("012"), chosen)
        await changed(exchange, whole)
        of_second = await changed(exchange, some, second)
        assert whole.all() == sorted(await offered(exchange, PATH), key=str)
        after = await offered(exchange, PATH, second)
        assert some.all() == sorted(after, key=str)
        assert of_second <= before | {row["sector_id"] for row in after} | set(some.rows)


async def test_what_commits_later_is_not_passed_over(new_sender: NewSender) -> None:
    sender = await new_sender()
    await sender.pushed(sender.roster())
    exchange, db = (
        await exchange_at(sender.house.services, "education"),
        sender.house.services.kit("education").db,
    )
    told = Told()
    await changed(exchange, told)
    async with db.transaction() as slow:
        await slow.execute("insert into offer_change (dataset, sector_id) values ('enrolments', 'h1_slow')")
        async with db.transaction() as quick:
            await quick.execute(
                "insert into offer_change (dataset, sector_id) values ('enrolments', 'h1_quick')"
            )
        answer = await exchange.get(f"{PATH}/changes", params={"after": told.place})
        assert (answer.json()["next"], answer.json()["settled"]) == (None, False)
    answer = await exchange.get(f"{PATH}/changes", params={"after": told.place})
    assert (answer.json()["next"] is None, answer.json()["settled"]) == (False, True)
