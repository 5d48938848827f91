"""`GET /education/records/me`: a person's own record, and nobody else's."""

import asyncio

from tests.education.conftest import House, Sender
from tests.education.rosters import Roster


async def test_nobody_without_a_token(house: House) -> None:
    anyone = await house.client(scopes=None)
    assert (await anyone.get("/education/records/me")).status_code == 401


async def test_no_organisation_reads_records(house: House) -> None:
    school = await house.client(scopes="education:imports:write")
    assert (await school.get("/education/records/me")).status_code == 403
    app = await house.client(scopes="education:records:read")
    answer = await app.get("/education/records/me")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_somebody_no_school_knows_has_an_empty_record(house: House) -> None:
    person = await house.person("somebody-unknown")
    found = (await person.get("/education/records/me")).json()
    assert (found["known"], found["episodes"], found["classes"]["items"]) == (False, [], [])


async def test_a_pupil_sees_their_own_school_and_classes_only(sender: Sender) -> None:
    await sender.pushed(sender.roster(pupils=2, classes=2))
    record = await sender.record(f"u-{sender.first}")
    assert record["known"] is True
    assert [(place["title"], place["course"], place["terms"]) for place in record["classes"]["items"]] == [
        ("三年级1班 数学", "数学", ["2026-2027学年"])
    ]
    other = await sender.record(f"u-{sender.first + 1}")
    assert [place["title"] for place in other["classes"]["items"]] == ["三年级2班 数学"]


async def test_each_reading_is_on_record_before_the_answer(sender: Sender) -> None:
    await sender.pushed(sender.roster(pupils=1))
    learner = await sender.learner(f"u-{sender.first}")
    await sender.record(f"u-{sender.first}")
    leaves = await sender.house.db.fetch("select body::jsonb as body from leaf where subject = $1", learner)
    assert [(row["body"]["action"], row["body"]["records"]) for row in leaves] == [
        ("education.record.read", 2)
    ]


async def test_more_readers_than_connections_do_not_wait_for_each_others_leaves(house: House) -> None:
    person = await house.person("somebody-unknown")
    answers = await asyncio.gather(*(person.get("/education/records/me") for _ in range(24)))
    assert {answer.status_code for answer in answers} == {200}


async def test_classes_come_in_pages_newest_first(sender: Sender) -> None:
    roster = sender.roster(pupils=1)
    place = roster.rows["enrollments"][0]
    roster.rows["enrollments"] = [
        {**place, "sourcedId": f"e-{n}", "beginDate": f"2026-{n:02d}-01"} for n in range(1, 8)
    ]
    await sender.pushed(roster)
    person = await sender.house.person(await sender.learner(f"u-{sender.first}"))
    seen: list[str] = []
    after: str | None = None
    while True:
        params = {"first": 3} | ({"after": after} if after else {})
        page = (await person.get("/education/records/me", params=params)).json()["classes"]
        seen += [place["since"] for place in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [f"2026-{n:02d}-01" for n in range(7, 0, -1)]


async def test_places_left_stay_in_the_record(sender: Sender) -> None:
    await sender.pushed(sender.roster(pupils=1))
    delta = Roster(modes={"enrollments": "delta"})
    row = sender.roster(pupils=1).rows["enrollments"][0]
    delta.add("enrollments", **row, status="tobedeleted", dateLastModified="2026-11-01T00:00:00Z")
    await sender.pushed(delta)
    places = (await sender.record(f"u-{sender.first}"))["classes"]["items"]
    assert [place["open"] for place in places] == [False]
