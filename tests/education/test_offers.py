"""What education offers to other domains."""

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
