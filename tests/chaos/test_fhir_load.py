"""A hospital's load is cut off as by a power failure: what was acknowledged is there, the rest follows."""

import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.stack.processes import descendants
from tests.health.support import locations
from tests.health.synthea import as_kept, bundles, expected_counts, literal
from tests.support.suite import Suite, start_suite, stop_suite

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(900)]

AT_ONCE = 4
CUT_AFTER = 30
"""Bundles acknowledged before everything is killed, with others on their way."""


def test_the_whole_tree_killed_in_the_middle_of_a_load(tmp_path: Path) -> None:
    raws = bundles()
    tmp_path.chmod(0o755)
    suite = start_suite(tmp_path)
    suite.wait_ready()
    acknowledged = _load_until_killed(suite, raws)
    assert CUT_AFTER <= len(acknowledged) < len(raws)
    again = start_suite(tmp_path, port=suite.port)
    again._clients |= suite._clients
    try:
        again.wait_ready()
        with again.client("hospital") as http:
            _check_whole(http, raws, acknowledged)
    finally:
        stop_suite(again)


def _load_until_killed(suite: Suite, raws: list[bytes]) -> dict[int, bytes]:
    """What was acknowledged, by bundle, until the kill."""
    token = suite.token("hospital")
    acknowledged: dict[int, bytes] = {}
    enough = threading.Event()

    def send(number: int) -> None:
        if enough.is_set():
            return
        headers = {"authorization": f"Bearer {token}", "content-type": "application/fhir+json"}
        try:
            answer = httpx.post(f"{suite.address}/fhir", content=raws[number], headers=headers, timeout=60)
        except httpx.TransportError:
            return
        if answer.status_code == 200:
            acknowledged[number] = answer.content
        if len(acknowledged) >= CUT_AFTER:
            enough.set()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        sending = [pool.submit(send, number) for number in range(len(raws))]
        assert enough.wait(300)
        # The next ones are on their way by now.
        time.sleep(0.2)
        for pid in reversed(descendants(suite.process.pid)):
            with suppress(ProcessLookupError):  # a validating process ends with the service
                os.kill(pid, signal.SIGKILL)
        suite.process.wait()
        for future in sending:
            future.result()
    return acknowledged


def _check_whole(http: httpx.Client, raws: list[bytes], acknowledged: dict[int, bytes]) -> None:
    answers = []
    for number, raw in enumerate(raws):
        answer = http.post("/fhir", content=raw, headers={"content-type": "application/fhir+json"})
        assert answer.status_code == 200, answer.text
        if number in acknowledged:
            assert answer.content == acknowledged[number], "an acknowledged bundle was applied anew"
        answers.append(answer.content)
    counts = expected_counts(raws)
    kept: dict[str, Any] = {}
    for kind in counts:
        kept |= _all(http, kind)
    assert Counter(place.partition("/")[0] for place in kept) == counts
    for raw, content in zip(raws, answers, strict=True):
        entries, places = literal(raw)["entry"], locations(literal(content))
        stored = {entry["fullUrl"]: place for entry, place in zip(entries, places, strict=True)}
        for entry, place in zip(entries, places, strict=True):
            found = {name: value for name, value in kept[place].items() if name not in ("id", "meta")}
            assert found == as_kept(entry, stored)


def _all(http: httpx.Client, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    url: str | None = f"/fhir/{kind}?_count=500"
    while url is not None:
        page = literal(http.get(url).content)
        found |= {f"{kind}/{entry['resource']['id']}": entry["resource"] for entry in page.get("entry", ())}
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    return found
