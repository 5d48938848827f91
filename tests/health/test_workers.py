"""The validating processes: killed ones are replaced, answers never go to another's question."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from health.fhir.outcome import Refusal
from health.fhir.workers import Workers
from services.kit.problems import Problem
from tests.health.support import body, observation, patient

BASE = "http://here/fhir/"


@pytest.fixture
async def pool() -> AsyncIterator[Workers]:
    pool = Workers(most=1)
    yield pool
    await pool.close()


def children() -> set[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for found in lists for pid in found.read_text().split()}


def workers_of(before: set[int]) -> list[int]:
    return [
        pid
        for pid in children() - before
        if b"health.fhir.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


async def test_a_killed_worker_is_replaced(pool: Workers) -> None:
    before = children()
    await pool.resource(body(observation()), BASE, "Observation", None)
    [worker] = workers_of(before)
    os.kill(worker, signal.SIGKILL)
    prepared = await pool.resource(body(observation()), BASE, "Observation", None)
    assert prepared.entries[0].type == "Observation"


async def test_a_question_given_up_does_not_spoil_the_next(pool: Workers) -> None:
    large = body(patient(name=[{"text": "x" * 200_000}]))
    waiting = asyncio.create_task(pool.resource(large, BASE, "Patient", None))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    prepared = await pool.resource(body(observation()), BASE, "Observation", None)
    assert prepared.entries[0].type == "Observation"


async def test_more_than_may_wait_is_told_to_come_again(
    pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("health.fhir.workers.MOST_WAITING", 2)
    asked = [pool.resource(body(observation()), BASE, "Observation", None) for _ in range(5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Problem)]
    assert [problem.status for problem in refused] == [503] * len(refused)
    assert len(refused) == 2
    assert (await pool.resource(body(observation()), BASE, "Observation", None)).entries


async def test_a_refusal_comes_back_as_it_was_raised(pool: Workers) -> None:
    with pytest.raises(Refusal) as refusal:
        await pool.resource(b'{"resourceType":"Patient","gender":"x"}', BASE, "Patient", None)
    assert refusal.value.status == 400
    assert [issue.expression for issue in refusal.value.issues] == ["Patient.gender"]


async def test_what_nobody_foresaw_is_one_pushs_alone_and_told_without_it(
    pool: Workers, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    before = children()
    view = {"resource": "Patient", "status": "active", "select": [{"column": [{"name": "id", "path": "id"}]}]}
    await pool.view(view, b'{"resourceType":"Patient"}')
    [worker] = workers_of(before)
    with pytest.raises(Refusal) as refusal:
        await pool.view(view, "张三".encode() + b" \xff")
    assert (refusal.value.status, refusal.value.issues[0].code) == (500, "exception")
    assert (await pool.resource(body(observation()), BASE, "Observation", None)).entries
    assert workers_of(before) == [worker]
    [record] = [one for one in caplog.records if hasattr(one, "fault")]
    assert record.fault.startswith("UnicodeDecodeError at worker.py:")
    assert "张三" not in record.fault + capfd.readouterr().err


async def test_a_line_that_nobody_foresaw_is_refused_by_itself(
    pool: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"bulk": "b", "place": 1, "first": 1, "type": "", "base": BASE, "seed": "s", "scopes": 5}
    found = await pool.lines(asked, b'x\n{"resourceType":"Patient"}\n')
    assert not found["taken"]
    codes = [json.loads(outcome)["issue"][0]["code"] for _, outcome in found["refused"]]
    assert codes == ["structure", "exception"]
    assert [one.fault for one in caplog.records if hasattr(one, "fault")] == found["faults"]
    assert found["faults"][0].startswith("TypeError at lines.py:")


async def test_an_idle_worker_ends() -> None:
    before = children()
    pool = Workers(most=1, idle_s=0.1)
    await pool.resource(body(observation()), BASE, "Observation", None)
    assert workers_of(before)
    for _ in range(1200):
        if not workers_of(before):
            break
        await asyncio.sleep(0.05)
    assert workers_of(before) == []
    await pool.close()
