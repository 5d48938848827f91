"""Killed between two stages, a push sent again ends where it would have ended, with the same receipt."""

import asyncio
from typing import Any

import pytest

from education import learners
from education.repository import episodes, intake, people, roster, staging
from services.kit.calls import DomainError
from tests.education.conftest import NewSender, Sender


class Killed(BaseException):
    """As sudden as kill -9: no handler of ours may catch it."""


STAGES = [
    (staging, "copy_in"),
    (staging, "check_references"),
    (learners, "resolve"),
    (roster, "apply"),
    (people, "link"),
    (episodes, "refresh"),
    (intake, "finish"),
    (intake, "count_faults"),
]


@pytest.mark.parametrize(("module", "name"), STAGES, ids=[name for _, name in STAGES])
async def test_a_push_cut_short_applies_nothing_and_goes_on_when_sent_again(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    body = sender.roster(pupils=3).zip()
    whole = getattr(module, name)

    async def cut(*args: Any, **kwargs: Any) -> Any:
        await whole(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, name, cut)
        with pytest.raises(Killed):
            await sender.push(body)
    for table in ("organisation", "account", "enrolment_episode"):
        assert await sender.count(table) == 0, table
    waiting = (await sender.http.get("/education/imports")).json()["items"]
    assert [one["status"] for one in waiting] == ["received"]

    receipt = await sender.pushed(body)
    assert receipt["receipt_id"] == waiting[0]["receipt_id"]
    assert (receipt["status"], receipt["episodes"]["opened"]) == ("accepted", 3)
    assert await sender.count("account") == 3
    assert (await sender.pushed(body))["sent_before"] is True


async def test_two_pushes_of_one_sender_at_once_count_once_each(sender: Sender) -> None:
    roster_ = sender.roster(pupils=3)
    body = roster_.zip()
    roster_.rows["users"][0]["givenName"] = "另"
    other = roster_.zip()
    answers = await asyncio.gather(*(sender.pushed(one) for one in (body, other, body, other)))
    assert len({answer["receipt_id"] for answer in answers}) == 2
    assert await sender.count("import_batch", "status = 'applied'") == 2
    assert await sender.count("account") == 3


async def test_two_senders_of_the_same_pupils_at_once(
    new_sender: NewSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    senders = [await new_sender() for _ in range(3)]
    body = senders[0].roster(pupils=20).zip()
    opened = episodes._open

    async def slowly(*args: Any) -> int:
        found = await opened(*args)
        await asyncio.sleep(0.2)
        return found

    monkeypatch.setattr(episodes, "_open", slowly)
    receipts = await asyncio.gather(*(sender.pushed(body) for sender in senders))
    assert sorted(receipt["episodes"]["provisional"] for receipt in receipts) == [0, 20, 20]


async def test_while_identity_is_away_the_push_waits(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise DomainError("identity", "SERVICE_UNAVAILABLE", "the service cannot be reached")

    body = sender.roster(pupils=2).zip()
    with monkeypatch.context() as patched:
        patched.setattr("services.identity.client.IdentityClient.resolve", away)
        answer = await sender.push(body)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert await sender.count("account") == 0
    assert (await sender.pushed(body))["status"] == "accepted"


async def test_while_the_parser_cannot_run_the_push_waits(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = sender.roster(pupils=2).zip()
    with monkeypatch.context() as patched:
        patched.setattr("education.oneroster.reading.IN_THREAD_BYTES", 0)
        patched.setattr("education.oneroster.reading.sys.executable", "/bin/false")
        answer = await sender.push(body)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert (await sender.pushed(body))["status"] == "accepted"


async def test_many_pushes_at_once_leave_room_for_readers(new_sender: NewSender) -> None:
    senders = [await new_sender() for _ in range(12)]
    await senders[0].pushed(senders[0].roster(pupils=1))
    pushes = asyncio.gather(*(sender.pushed(sender.roster(pupils=2)) for sender in senders))
    assert (await senders[0].record(f"u-{senders[0].first}"))["known"] is True
    assert {receipt["status"] for receipt in await pushes} == {"accepted"}
