"""Requests of every form against `/fhir`, over HTTP: `fhir_fuzz.py [--minutes 10] [--seed 1] [--fault FILE]`.

A suite is started without authentication and sent what hypothesis makes: resources of all types of R4,
created, updated, patched and deleted by id and by search, batches and transactions whose entries refer to
each other, searches by the parameters of the type, reads, cursors and operations; right ones, and ones with
up to three places spoilt. Whatever comes: never a 5xx, FHIR's JSON as the answer, and as many entries back as
a batch had. Each minute a line says how far it is. The first 5xx, or a server that does not answer, ends the
run: FILE then holds the request, the answer and the end of the logs. Bulk requests that were taken are
deleted again, or their files would fill the disk.
"""

import argparse
import base64
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from health.fhir.definitions import definitions
from tests.conformance.fuzz.requests import Ask, Known, asks
from tests.health.support import FHIR_JSON, patient
from tests.support.suite import Suite, running_suite

ROUND = 200
"""Requests made at a time: what hypothesis remembers of a round goes with it."""
SAY_EVERY_S = 60
ANSWER_S = 120
POLL_S = 0.05
KINDS_MAX = 100
"""Kinds of lesser faults that are told apart."""


class Broken(Exception):
    """A 5xx, or no answer.

    Attributes:
        asked: what brought it; `answer`, what came.
    """

    def __init__(self, asked: Ask, answer: str) -> None:
        super().__init__(answer[:300])
        self.asked = asked
        self.answer = answer


def made(number: int, known: Known) -> list[Ask]:
    """The requests of one round."""
    found: list[Ask] = []

    @seed(number)
    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(asks(known))
    def collect(asked: Ask) -> None:
        found.append(asked)

    collect()
    return found


def fault(asked: Ask, answer: httpx.Response) -> str | None:
    """What is wrong with an answer below 500; None when nothing is."""
    if asked.method == "HEAD" or answer.status_code in (204, 304) or not answer.content:
        return None
    if not asked.path.startswith("/fhir"):
        return None  # which has another form
    kind = answer.headers.get("content-type", "")
    if "json" not in kind:
        return None if answer.status_code < 300 else f"{answer.status_code} of type {kind}"
    if "ndjson" in kind:
        return None
    try:
        found = answer.json()
    except ValueError as error:
        return f"no JSON, {error}: {answer.text[:2000]}"
    if "errors" in found:  # GraphQL's own form holds the outcome
        found = found["errors"][0]["extensions"]["resource"]
    if answer.status_code >= 400 and found.get("resourceType") != "OperationOutcome":
        return f"{answer.status_code} without an OperationOutcome: {answer.text[:200]}"
    if asked.path == "/fhir" and answer.status_code == 200 and asked.body is not None:
        sent, back = len(json.loads(asked.body).get("entry", ())), len(found.get("entry", ()))
        if sent != back:
            return f"{sent} entries sent, {back} came back"
    return None


def failed(answer: httpx.Response) -> bool:
    """Whether it is a 5xx, or a Bundle with one in it."""
    return answer.status_code >= 500 or b'"response":{"status":"5' in answer.content


class Run:
    """A run's counts, and what it was told."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._known = Known()
        self._began = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def rounds(self, number: int, minutes: float) -> None:
        """Sends round after round until the time is over.

        Raises:
            Broken: at the first 5xx or lost answer.
        """
        until, say = self._began + minutes * 60, self._began + SAY_EVERY_S
        # Seeds of runs begun with one seed and the next do not meet.
        for n in range(number * 10**9, (number + 1) * 10**9):
            for asked in made(n, self._known):
                if time.monotonic() > until:
                    return
                self._send(asked)
                if time.monotonic() > say:
                    say += SAY_EVERY_S
                    print(self, flush=True)

    def _send(self, asked: Ask) -> None:
        try:
            headers = [(name.encode(), value.encode("latin-1")) for name, value in asked.headers.items()]
            answer = self._client.request(asked.method, asked.path, content=asked.body, headers=headers)
        except (httpx.InvalidURL, UnicodeEncodeError):
            return
        except httpx.HTTPError as error:
            raise Broken(asked, repr(error)) from error
        self.counts[f"{asked.method} {answer.status_code}"] += 1
        if failed(answer):
            raise Broken(asked, f"{answer.status_code} {answer.text}")
        words = fault(asked, answer)
        if words is None:
            self._note(asked, answer)
            return
        if words[:60] not in self.faults:
            print(f"{words}\n  {asked.method} {asked.path[:300]} {(asked.body or b'')[:3000]!r}", flush=True)
        if words[:60] in self.faults or len(self.faults) < KINDS_MAX:
            self.faults[words[:60]] += 1

    def _finish(self, asked: Ask, location: str) -> None:
        """Waits for an import, which is soon done; an export of all there is by now is not waited for."""
        until = time.monotonic() + ANSWER_S
        while asked.path.endswith("$import"):
            answer = self._client.get(location)
            if answer.status_code >= 500 or time.monotonic() > until:
                raise Broken(asked, f"the import came to {answer.status_code} {answer.text}")
            if answer.status_code == 200:
                break
            time.sleep(POLL_S)
        self._client.delete(location)

    def _note(self, asked: Ask, answer: httpx.Response) -> None:
        if answer.status_code == 202 and "content-location" in answer.headers:
            self._finish(asked, answer.headers["content-location"])
        if answer.status_code == 201:
            self._known.note(answer.headers.get("location", ""))
        if answer.status_code != 200 or b'"Bundle"' not in answer.content[:200]:
            return
        found: dict[str, Any] = answer.json()
        for link in found.get("link", ()):
            if link["relation"] == "next":
                self._known.links.append(f"/fhir{link['url'].partition('/fhir')[2]}")
        for entry in found.get("entry", ()):
            said = entry.get("response", {})
            if said.get("status", "").startswith("201"):
                self._known.note(said.get("location", ""))

    def __str__(self) -> str:
        statuses: Counter[str] = Counter()
        for name, number in self.counts.items():
            statuses[name.rpartition(" ")[2]] += number
        shown = ", ".join(f"{number} times {status}" for status, number in sorted(statuses.items()))
        types = f"{len(self._known.stored)} of {len(definitions().resources)} types stored"
        minutes = (time.monotonic() - self._began) / 60
        faults = f"{self.faults.total()} faults"
        return f"{minutes:.0f} min: {self.counts.total()} requests: {shown}; {types}; {faults}"


def kept(file: Path, broken: Broken, suite: Suite) -> None:
    """What ended a run, in a file: the body as text, or in base64 where it is none."""
    asked = broken.asked
    body = asked.body or b""
    try:
        said = {"body": body.decode()}
    except UnicodeDecodeError:
        said = {"body_base64": base64.b64encode(body).decode()}
    request = {"method": asked.method, "path": asked.path, "headers": asked.headers, **said}
    found = {"request": request, "answer": broken.answer, "logs": suite.printed()}
    file.write_text(json.dumps(found, indent=1), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", type=Path, default=Path(tempfile.gettempdir()) / "fhir_fuzz_fault.json")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        running_suite(Path(name), "up", "--no-auth") as suite,
        httpx.Client(base_url=suite.base_url, timeout=ANSWER_S) as client,
    ):
        first = patient(("urn:mrn", "1"), id="p1")
        client.put("/fhir/Patient/p1", json=first, headers={"content-type": FHIR_JSON}).raise_for_status()
        run = Run(client)
        try:
            run.rounds(asked.seed, asked.minutes)
        except Broken as broken:
            kept(asked.fault, broken, suite)
            print(f"{broken}\nThe request, the answer and the logs: {asked.fault}")
            return 1
        finally:
            print(run)
    for words, number in run.faults.most_common():
        print(f"  {number} {words}")
    return int(run.faults.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
