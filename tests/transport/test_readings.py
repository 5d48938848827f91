"""POST /transport/readings: refusals first, then what is taken."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from tests.transport.conftest import Transport


@pytest.fixture
async def gate(transport: Transport) -> Transport:
    await transport.zone("bridge")
    await transport.sensor("g1", zone_to="bridge")
    return transport


async def occupancy(gate: Transport, zone: str = "bridge") -> Any:
    return (await gate.see(f"zones/{zone}"))["occupancy"]


async def test_nobody_pushes_without_a_token(gate: Transport) -> None:
    nobody = await gate.house.client("transport", scopes=None)
    assert (await nobody.post("/transport/readings", json={})).status_code == 401


async def test_a_citizen_may_not_push(gate: Transport, now: datetime) -> None:
    answer = await gate.citizen.post("/transport/readings", json=gate.reading("g1", now, 1))
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


async def test_a_token_for_another_service_is_refused(gate: Transport, now: datetime) -> None:
    other = await gate.house.client(
        "transport", token=gate.house.token("health", scopes="transport:readings:write")
    )
    answer = await other.post("/transport/readings", json=gate.reading("g1", now, 1))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_another_organisation_may_not_speak_for_the_sensor(gate: Transport, now: datetime) -> None:
    other = await gate.house.client("transport", scopes="transport:readings:write", organisation="rival")
    answer = await other.post("/transport/readings", json=[gate.reading("g1", now, 900)])
    assert (answer.status_code, answer.json()["code"]) == (422, "foreign_sensor")
    assert await occupancy(gate) is None


MINUTE_AGO = timedelta(minutes=1)
WRONG = [
    pytest.param({"sensor": "nowhere"}, "unknown_sensor", "sensor", id="a sensor nobody set up"),
    pytest.param({"sensor": "loose"}, "sensor_without_zone", "sensor", id="a sensor on no edge"),
    pytest.param({"sensor": 7}, "invalid_sensor", "sensor", id="a sensor that is no text"),
    pytest.param({"sensor": "g\0"}, "invalid_sensor", "sensor", id="a character no database keeps"),
    pytest.param({"start": "0001-01-01T00:00:00+14:00"}, "invalid_time", "start", id="before all clocks"),
    pytest.param({"in": -1}, "negative_count", "in", id="people counted below zero"),
    pytest.param({"out": 1.5}, "invalid_count", "out", id="half a person"),
    pytest.param({"in": True}, "invalid_count", "in", id="a boolean is no number"),
    pytest.param({"in": 10**12}, "invalid_count", "in", id="more people than there are"),
    pytest.param({"seq": -1}, "invalid_seq", "seq", id="a negative number"),
    pytest.param({"seq": "1"}, "invalid_seq", "seq", id="a number in quotes"),
    pytest.param({"end": "2026-05-01T08:00:00"}, "invalid_time", "end", id="a time without its zone"),
    pytest.param({"start": "today"}, "invalid_time", "start", id="no time at all"),
    pytest.param({"weather": "fine"}, "unknown_member", "weather", id="an unknown member"),
]


@pytest.mark.parametrize(("changed", "code", "member"), WRONG)
async def test_a_wrong_reading_refuses_its_whole_batch_by_path(
    gate: Transport, now: datetime, changed: dict[str, Any], code: str, member: str
) -> None:
    await gate.sensor("loose")
    good, bad = gate.reading("g1", now, 5), gate.reading("g1", now, 5) | changed
    answer = await gate.gate.post("/transport/readings", json=[good, bad])
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    [error] = answer.json()["errors"]
    assert (error["path"], error["field"]) == (f"$[1].{member}", member)
    assert await occupancy(gate) is None


async def test_the_future_the_past_and_a_span_that_runs_backwards(gate: Transport, now: datetime) -> None:
    future = gate.reading("g1", now + timedelta(minutes=5), 1)
    old = gate.reading("g1", now - timedelta(hours=25), 1)
    backwards = gate.reading("g1", now, 1) | {"start": now.isoformat()}
    answer = await gate.gate.post("/transport/readings", json={"readings": [future, old, backwards]})
    assert (answer.status_code, answer.json()["code"]) == (422, "unacceptable_readings")
    assert [(e["path"], e["code"]) for e in answer.json()["errors"]] == [
        ("$.readings[0].end", "future_reading"),
        ("$.readings[1].end", "too_late"),
        ("$.readings[2].end", "end_before_start"),
    ]
    assert await occupancy(gate) is None


async def test_a_missing_member_is_named(gate: Transport, now: datetime) -> None:
    reading = gate.reading("g1", now, 1)
    del reading["end"]
    answer = await gate.gate.post("/transport/readings", json=reading)
    assert (answer.status_code, answer.json()["code"]) == (422, "missing_member")
    assert answer.json()["errors"][0]["path"] == "$.end"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b'{"sensor": "g1",', 400, "malformed_json", id="cut off"),
        pytest.param('{"sensor": "断桥"}'.encode("gb18030"), 400, "malformed_json", id="GB 18030"),
        pytest.param('{"sensor": "g1"}'.encode("utf-16"), 400, "malformed_json", id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf{}", 400, "malformed_json", id="a byte order mark"),
        pytest.param(b"[]", 400, "empty_push", id="nothing in it"),
        pytest.param(b'"g1"', 422, "not_an_object", id="a text"),
        pytest.param(b"[[]]", 422, "not_an_object", id="an array in an array"),
    ],
)
async def test_a_body_that_is_no_push(gate: Transport, body: bytes, status: int, code: str) -> None:
    answer = await gate.gate.post(
        "/transport/readings", content=body, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_other_media_types_and_character_sets_are_refused(gate: Transport) -> None:
    for kind in ("text/csv", "application/json; charset=gb18030"):
        answer = await gate.gate.post("/transport/readings", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 415


async def test_an_unknown_query_parameter_is_refused(gate: Transport, now: datetime) -> None:
    answer = await gate.gate.post("/transport/readings?dry_run=1", json=gate.reading("g1", now, 1))
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")


async def test_one_reading_is_a_push(gate: Transport, now: datetime) -> None:
    answer = await gate.gate.post("/transport/readings", json=gate.reading("g1", now, 12, 2))
    assert answer.status_code == 200
    receipt = answer.json()
    assert (receipt["received"], receipt["accepted"], receipt["duplicates"]) == (1, 1, 0)
    assert await occupancy(gate) == 10


async def test_sent_again_it_counts_once(gate: Transport, now: datetime) -> None:
    readings = [gate.reading("g1", now, 3), gate.reading("g1", now, 4)]
    await gate.push(*readings)
    receipt = await gate.push(*reversed(readings), readings[0], gate.reading("g1", now, 5))
    assert (receipt["received"], receipt["accepted"], receipt["duplicates"]) == (4, 1, 3)
    assert await occupancy(gate) == 12


async def test_without_a_number_the_span_is_the_key(gate: Transport, now: datetime) -> None:
    reading = gate.reading("g1", now, 3)
    del reading["seq"]
    await gate.push(reading)
    assert (await gate.push(reading))["duplicates"] == 1
    # The same instant in another zone's clock is the same span.
    elsewhere = now.astimezone(ZoneInfo("Asia/Shanghai"))
    assert (await gate.push(reading | {"end": elsewhere.isoformat()}))["duplicates"] == 1
    assert await occupancy(gate) == 3


@pytest.mark.parametrize("in_one_push", [True, False], ids=["in one push", "in two pushes"])
async def test_a_number_used_for_something_else_is_no_duplicate(
    gate: Transport, now: datetime, in_one_push: bool
) -> None:
    reading = gate.reading("g1", now, 3)
    other = reading | {"in": 4}
    if not in_one_push:
        await gate.push(reading)
    answer = await gate.gate.post("/transport/readings", json=[reading, other])
    assert (answer.status_code, answer.json()["code"]) == (422, "seq_reused")
    assert answer.json()["errors"][0]["path"] == "$[1].seq"
    assert await occupancy(gate) == (None if in_one_push else 3)


def ndjson(*lines: Any) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines) + b"\n"


async def stream(gate: Transport, content: Any) -> Any:
    return await gate.gate.post(
        "/transport/readings", content=content, headers={"content-type": "application/x-ndjson"}
    )


async def test_a_stream_takes_the_good_lines_and_names_the_others(gate: Transport, now: datetime) -> None:
    first = gate.reading("g1", now, 1)
    body = ndjson(
        first,
        b"",
        gate.reading("g1", now, 2) | {"out": -2},
        b'{"sensor": "g1", ',
        '{"sensor": "断桥"}'.encode("gb18030"),
        gate.reading("g1", now, 4),
        first | {"in": 9},
        gate.reading("nowhere", now, 8),
        first,
        b" " * 20_000,
        b'{"sensor": "' + b"g" * 20_000,
    )
    answer = await stream(gate, body)
    assert answer.status_code == 200
    receipt = answer.json()
    assert [(e["line"], e["code"]) for e in receipt["errors"]] == [
        (3, "negative_count"),
        (4, "malformed_json"),
        (5, "bad_encoding"),
        (7, "seq_reused"),
        (8, "unknown_sensor"),
        (11, "line_too_long"),
    ]
    assert (receipt["received"], receipt["accepted"], receipt["duplicates"], receipt["refused"]) == (
        9,
        2,
        1,
        6,
    )
    assert await occupancy(gate) == 5

    kept = await gate.gate.get(f"/transport/receipts/{receipt['receipt_id']}/refused", params={"first": 2})
    assert [(line["line"], line["body"]) for line in kept.json()["items"]] == [
        (3, orjson.dumps(orjson.loads(body.split(b"\n")[2])).decode()),
        (4, '{"sensor": "g1", '),
    ]
    following = await gate.gate.get(
        f"/transport/receipts/{receipt['receipt_id']}/refused", params={"after": kept.json()["next"]}
    )
    assert [line["line"] for line in following.json()["items"]] == [5, 7, 8, 11]


async def test_refused_lines_are_shown_to_their_sender_alone(gate: Transport, now: datetime) -> None:
    answer = await stream(gate, ndjson(gate.reading("g1", now, 1), b"{}"))
    other = await gate.house.client("transport", scopes="transport:readings:write", subject="somebody-else")
    kept = await other.get(f"/transport/receipts/{answer.json()['receipt_id']}/refused")
    assert kept.json()["items"] == []


async def test_a_stream_of_nothing_good_is_refused_as_a_whole(gate: Transport) -> None:
    answer = await stream(gate, ndjson(b"{}", b"[]"))
    assert (answer.status_code, answer.json()["code"]) == (422, "unacceptable_readings")
    assert [(e["line"], e["code"]) for e in answer.json()["errors"]] == [
        (1, "missing_member"),
        (2, "not_an_object"),
    ]
    assert (await stream(gate, b"\n\n")).json()["code"] == "empty_push"


async def test_a_number_known_with_other_content_is_refused_by_line(gate: Transport, now: datetime) -> None:
    first = gate.reading("g1", now, 1)
    await gate.push(first)
    receipt = (await stream(gate, ndjson(first | {"in": 7}, gate.reading("g1", now, 2), first))).json()
    assert (receipt["accepted"], receipt["duplicates"], receipt["refused"]) == (1, 1, 1)
    assert [(e["line"], e["code"]) for e in receipt["errors"]] == [(1, "seq_reused")]
    assert await occupancy(gate) == 3


async def test_a_long_stream_goes_in_as_batches(gate: Transport, now: datetime) -> None:
    readings = [gate.reading("g1", now - timedelta(minutes=i // 30 % 30), 1) for i in range(2500)]

    async def chunks() -> Any:
        body = ndjson(*readings)
        for at in range(0, len(body), 7_001):
            yield body[at : at + 7_001]

    receipt = (await stream(gate, chunks())).json()
    assert [(b["first_line"], b["last_line"], b["accepted"]) for b in receipt["batches"]] == [
        (1, 900, 900),
        (901, 1800, 900),
        (1801, 2500, 700),
    ]
    assert await occupancy(gate) == 2500


async def test_a_moment_with_very_many_readings_is_cut_all_the_same(gate: Transport, now: datetime) -> None:
    receipt = (await stream(gate, ndjson(*(gate.reading("g1", now, 1) for _ in range(1500))))).json()
    assert [(b["first_line"], b["last_line"]) for b in receipt["batches"]] == [(1, 1000), (1001, 1500)]


async def test_what_came_before_the_sender_paused_is_committed(gate: Transport, now: datetime) -> None:

    seen: list[Any] = []

    async def chunks() -> Any:
        yield ndjson(gate.reading("g1", now, 4))
        async with asyncio.timeout(60):
            while not seen:
                await asyncio.sleep(0.1)
                seen.extend(found for found in [await occupancy(gate)] if found is not None)
        yield ndjson(gate.reading("g1", now, 5))

    receipt = (await stream(gate, chunks())).json()
    assert seen == [4]
    assert len(receipt["batches"]) == 2


async def test_too_much_json_is_refused_before_it_is_read(gate: Transport) -> None:
    answer = await gate.gate.post(
        "/transport/readings", content=b" " * (5 * 1024 * 1024), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_too_many_readings_in_one_push(gate: Transport, now: datetime) -> None:
    readings: list[dict[str, Any]] = [{}] * 10_001
    answer = await gate.gate.post("/transport/readings", json=readings)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_readings")
