"""Requests to `/fhir` with anything at any place, over HTTP: `fhir_places.py [--only '$expand']`.

A suite is started without authentication. One right request of each form, for each operation and each
resource that the server itself reads, is sent as it is, which must be taken; then with each place of its body
in turn left out, doubled, and replaced by each of a list of values. Whatever comes: never a 5xx, and FHIR's
JSON as the answer. What fails is printed with the place and the value.
"""

import argparse
import copy
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conformance.fhir_fuzz import ANSWER_S, failed, fault
from tests.conformance.fuzz.requests import Ask
from tests.conformance.fuzz.whole import NEW_CODE, WHOLE, Whole
from tests.health.support import FHIR_JSON, patient
from tests.health.test_fuzz import holder, places
from tests.support.suite import running_suite

ODD: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, "", "x", "\x00", "\ud800", "#", "Patient/1", "Patient?x", "2020-02-30",
    "9999-12-31T23:59:59-14:00", "9" * 400, [], {}, [None], [[]], [1], ["x"], [{}], {"a": 1},
    {"reference": "#"}, {"coding": [None]}, {"resourceType": "Patient"}, [{"name": "x"}],
]  # fmt: skip


def spoilt(whole: Any) -> Iterator[tuple[tuple[Any, ...], str, Any]]:
    """Each place, what was done to it, and the body then."""
    for path in places(whole):
        for change in ("left out", "doubled", *ODD):
            body = copy.deepcopy(whole)
            around = holder(body, path)
            if change == "left out":
                del around[path[-1]]
            elif change == "doubled":
                around[path[-1]] = [around[path[-1]]] * 2
            else:
                around[path[-1]] = copy.deepcopy(change)
            yield path, ascii(change)[:80], body


class Sent:
    """What came of the requests made."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._codes = 0
        self.faults = 0

    def all_of(self, whole: Whole) -> None:
        """Sends one request as it is and spoilt, and prints a line on what came."""
        told, right, headers = whole
        statuses = Counter([self._status(told, right, headers, "as it is")])
        if min(statuses) >= 300:
            self._found(f"{told}, as it is, is not taken: {statuses}")
        for path, change, body in spoilt(right):
            statuses[self._status(told, body, headers, f"{path}: {change}")] += 1
        shown = ", ".join(f"{number} times {status}" for status, number in sorted(statuses.items()))
        print(f"{told}: {shown}", flush=True)

    def _status(self, told: str, body: Any, headers: dict[str, str], change: str) -> int:
        if isinstance(body, dict) and body.get("code") == NEW_CODE:
            self._codes += 1
            body = body | {"code": f"{NEW_CODE}-{self._codes}"}
        method, _, path = told.partition(" ")
        raw = json.dumps(body).encode()
        answer = self._client.request(method, path, content=raw, headers=headers)
        if "content-location" in answer.headers:
            self._client.delete(answer.headers["content-location"])
        if failed(answer):
            self._found(f"{told}, {change}: {answer.status_code} {answer.text[:500]}")
        elif words := fault(Ask(method, path, raw), answer):
            self._found(f"{told}, {change}: {words}")
        return answer.status_code

    def _found(self, words: str) -> None:
        self.faults += 1
        print(words, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="requests whose path ends with this")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        running_suite(Path(name), "up", "--no-auth") as suite,
        httpx.Client(
            base_url=suite.base_url, headers={"content-type": FHIR_JSON}, timeout=ANSWER_S
        ) as client,
    ):
        first = patient(("urn:mrn", "1"), id="p1", active=True, name=[{"text": "x"}])
        client.put("/fhir/Patient/p1", json=first).raise_for_status()
        sent = Sent(client)
        for whole in WHOLE:
            if whole[0].endswith(asked.only):
                sent.all_of(whole)
    print(f"{sent.faults} faults")
    return int(sent.faults > 0)


if __name__ == "__main__":
    sys.exit(main())
