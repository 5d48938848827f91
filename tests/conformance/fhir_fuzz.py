"""Junk against `/fhir`, over HTTP: `fhir_fuzz.py [--minutes 10] [--seed 1]`.

A suite is started without authentication and sent spoilt resources, patches, batches and transactions,
searches by every parameter with values that mean nothing, tampered cursors and operations with Parameters of
any kind. Whatever comes: never a 5xx, JSON as the answer, and as many entries back as a batch had.
"""

import argparse
import copy
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from health.fhir.definitions import definitions
from tests.health.test_fuzz import SEED, places
from tests.support.suite import running_suite

Ask = tuple[str, str, bytes | None, dict[str, str]]


def _words(text: str) -> list[str]:
    return text.split()


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    10**15,
    1e300,
    "",
    " ",
    "　",
    "#",
    "#x",
    "Patient/1",
    "Patient/p1",
    "Patient?x",
    "?",
    "Patient?identifier=urn:mrn|1",
    "urn:uuid:",
    "http://",
    "2020-02-30",
    "0000",
    "9999-12-31",
    [],
    {},
    [None],
    [[]],
    {"resourceType": "Patient"},
    {"reference": "#"},
    {"extension": [{}]},
    "9" * 400,
    {"coding": [None]},
    "x" * 5000,
    "Bundle",
    "batch",
    "transaction",
    "GET",
    "PUT",
    "POST",
    "DELETE",
    "PATCH",
    "HEAD",
    "\x00",
    "\ud800",
    "Observation?_sort=x",
    "Patient/_search",
    "_history",
    "Patient/p1/$everything",
    "metadata",
    {"a": {"a": {"a": [{"a": 1}]}}},
]
WORDS = [
    "",
    "x",
    "|",
    "a|",
    "|a",
    "a|b|c",
    ",",
    ",,",
    "\\",
    "\\,",
    "$",
    "a$b",
    "$$",
    "gt",
    "ge2020",
    "eq1e5",
    "1e999",
    "ap5.4|http://unitsofmeasure.org|mg",
    "lt||g",
    "-0",
    "NaN",
    "9" * 400,
    "2020",
    "2020-13",
    "0000-01-01",
    "sa9999",
    "eb0001",
    "2020-01-01T25:00",
    "T",
    "Patient/1",
    "Patient/",
    "/",
    "#a",
    "urn:uuid:x",
    "http://a/b|1",
    "http://",
    "\x00",
    "\x1f",
    "%",
    "%%",
    "_",
    "'",
    '"',
    ";",
    "--",
    "true",
    "null",
    "　",
    "张",
    "\U0001f600",
    "a" * 3000,
    "1|2|3|4|5",
    "40|116|10|km",
    "10000000000000000000",
    "-99999999999999999999999",
    "not-in",
    ",".join("abc" * 60),
]
MODIFIERS = [
    "",
    "",
    "",
    ":exact",
    ":contains",
    ":missing",
    ":not",
    ":text",
    ":in",
    ":not-in",
    ":above",
    ":below",
    ":identifier",
    ":of-type",
    ":Patient",
    ":Patient.name",
    ".name",
    ".subject.name",
    ":x",
    ":",
    ":iterate",
]
RESULTS = _words("""
_count _sort _include _revinclude _include:iterate _summary _elements _total _page _contained
_containedType _score _has:Observation:patient:code _has:a _filter _query _content _text _list
_type _since _at _format _pretty _id _lastUpdated _tag
""")
OPERATIONS = _words("""
$validate $everything $lastn $match $graphql $expand $validate-code $lookup $subsumes $export
$import $summary $access-log $status $events $get-ws-binding-token $viewdefinition-run $run
$reindex $meta $translate $diff
""")
PARAMETERS = _words("""
resource mode profile url code system coding valueSet filter count offset onlyCertainMatches
query variables _type _since _outputFormat max start end inputFormat inputSource input
viewResource display version property eventsSinceNumber
""")
HEADERS: list[dict[str, str]] = [
    {},
    {},
    {"if-none-exist": "identifier=a|b"},
    {"if-match": 'W/"1"'},
    {"if-match": "junk"},
    {"if-none-match": "*"},
    {"prefer": "handling=lenient"},
    {"prefer": "return=OperationOutcome, respond-async"},
    {"if-none-exist": "\\"},
    {"if-modified-since": "yesterday"},
    {"content-encoding": "gzip"},
    {"accept": "text/*"},
    {"x-references": "unchecked"},
]


class Junk:
    """Requests, each made from the seed alone."""

    def __init__(self, seed: int) -> None:
        self._pick = random.Random(seed)
        self._types = sorted(definitions().parameters)
        self.cursors: list[str] = []

    def ask(self) -> Ask:
        forms = (
            self._bundle,
            self._bundle,
            self._search,
            self._search,
            self._resource,
            self._operation,
            self._page,
        )
        method, path, body, headers = self._pick.choice(forms)()
        return method, path, body, {"content-type": "application/fhir+json", **self._one(HEADERS), **headers}

    def _one(self, among: Any) -> Any:
        return self._pick.choice(among)

    def _spoilt(self, tree: Any, most: int) -> Any:
        tree = copy.deepcopy(tree)
        for _ in range(self._pick.randint(0, most)):
            path = self._one(places(tree) or [()])
            holder = tree
            for step in path[:-1]:
                holder = holder[step]
            if not path:
                continue
            match self._pick.randrange(5):
                case 0:
                    del holder[path[-1]]
                case 1:
                    holder[path[-1]] = [copy.deepcopy(holder[path[-1]])] * 2
                case 2 if isinstance(holder, dict):
                    holder[self._one(["id", "extension", "_x", "url", "request", "resource", ""])] = (
                        holder.pop(path[-1])
                    )
                case 3:
                    holder[path[-1]] = copy.deepcopy(self._one(places_of(tree)))
                case _:
                    holder[path[-1]] = copy.deepcopy(self._one(VALUES))
        return tree

    def _bundle(self) -> Ask:
        bundle = copy.deepcopy(SEED)
        bundle["type"] = self._one(["batch", "transaction"])
        for _ in range(self._pick.randint(0, 4)):
            method = self._one(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"])
            url = self._one(
                [self._search()[1].removeprefix("/fhir/"), *(v for v in VALUES if isinstance(v, str))]
            )
            entry: dict[str, Any] = {"request": {"method": method, "url": url}}
            if method in ("PUT", "POST", "PATCH"):
                entry["resource"] = copy.deepcopy(self._one([*self._seeds(), self._patch()]))
            for name in ("ifMatch", "ifNoneExist", "ifNoneMatch", "ifModifiedSince"):
                if self._pick.random() < 0.15:
                    entry["request"][name] = self._one(
                        ['W/"1"', "identifier=a|b", "2020-01-01T00:00:00Z", "x"]
                    )
            bundle["entry"].append(entry)
        return "POST", "/fhir", self._bytes(self._spoilt(bundle, 2)), {}

    def _patch(self) -> Any:
        parts = [
            {"name": "type", "valueCode": self._one(["add", "insert", "delete", "replace", "move", "x"])},
            {
                "name": "path",
                "valueString": self._one(["Patient.name", "Patient", "Patient.name[0].given", "a(", "1/0"]),
            },
            {"name": "name", "valueString": self._one(["birthDate", "name", "_x", ""])},
            {"name": "index", "valueInteger": self._one([0, -1, 10**6])},
            {"name": "value", self._one(["valueDate", "valueString", "valueX"]): self._one(VALUES)},
        ]
        return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}

    def _resource(self) -> Ask:
        kind = self._one(["Patient", "Observation", "Organization", self._one(self._types)])
        seed = self._one([entry["resource"] for entry in SEED["entry"]])
        id = self._one(["", "/p1", "/p1", "/x y", "/" + "x" * 70, "/%00", "/p1/_history/1", "/p1/_history"])
        method = self._one(["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD"])
        query = "?" + self._search()[1].partition("?")[2] if self._pick.random() < 0.3 else ""
        if method != "PATCH":
            return method, f"/fhir/{kind}{id}{query}", self._bytes(self._spoilt(seed, 2)), {}
        if self._pick.random() < 0.5:
            return method, f"/fhir/{kind}{id}{query}", self._bytes(self._spoilt(self._patch(), 2)), {}
        lines = [
            {
                "op": self._one(["add", "remove", "replace", "move", "copy", "test", "x"]),
                "path": self._one(
                    ["/name", "/name/0", "/name/-", "", "/", "/a/b", "/~2", "name", "/name/99999999999"]
                ),
                "from": self._one(["/name", "/x", ""]),
                "value": self._one(VALUES),
            }
        ]
        return (
            method,
            f"/fhir/{kind}{id}{query}",
            self._bytes(self._spoilt(lines, 1)),
            {"content-type": "application/json-patch+json"},
        )

    def _search(self) -> Ask:
        kind = self._one(["Patient", "Observation", self._one(self._types)])
        names = [*definitions().parameters[kind], *RESULTS]
        pairs = []
        for _ in range(self._pick.randint(1, 3)):
            name = self._one(names) + self._one(MODIFIERS)
            word = self._one(
                [self._one(WORDS), self._one(names), f"{kind}:{self._one(names)}", self._one(WORDS) * 2]
            )
            pairs.append(f"{quote(name)}={quote(word)}")
        if self._pick.random() < 0.1:
            return (
                "POST",
                f"/fhir/{kind}/_search",
                "&".join(pairs).encode(),
                {"content-type": "application/x-www-form-urlencoded"},
            )
        return "GET", f"/fhir/{kind}{self._one(['', '', '', '/_history'])}?{'&'.join(pairs)}", None, {}

    def _page(self) -> Ask:
        if not self.cursors:
            return "GET", "/fhir/Observation?_count=1", None, {}
        path = self._one(self.cursors)
        place = self._pick.randrange(len(path.partition("?")[0]) + 1, len(path) + 1)
        return (
            "GET",
            path[:place] + self._one(["", "A", "%00", "=", "&"]) + path[place + self._pick.randint(0, 2) :],
            None,
            {},
        )

    def _operation(self) -> Ask:
        kind = self._one(
            [
                "",
                "/Patient",
                "/Patient/p1",
                "/Observation",
                "/ValueSet",
                "/CodeSystem",
                "/Group/x",
                "/Subscription/x",
                f"/{self._one(self._types)}",
            ]
        )
        path = f"/fhir{kind}/{self._one(OPERATIONS)}"
        if self._pick.random() < 0.4:
            pairs = [
                f"{self._one(PARAMETERS)}={quote(self._one(WORDS))}" for _ in range(self._pick.randint(0, 3))
            ]
            return "GET", f"{path}?{'&'.join(pairs)}", None, {}
        given = [
            {
                "name": self._one(PARAMETERS),
                self._one(
                    [
                        "valueString",
                        "valueUri",
                        "valueCode",
                        "valueInteger",
                        "valueBoolean",
                        "valueCoding",
                        "resource",
                        "part",
                        "valueDateTime",
                        "valueX",
                    ]
                ): self._one([*VALUES, *WORDS[:20], *self._seeds()]),
            }
            for _ in range(self._pick.randint(0, 4))
        ]
        return (
            "POST",
            path,
            self._bytes(self._spoilt({"resourceType": "Parameters", "parameter": given}, 2)),
            {},
        )

    def _seeds(self) -> list[Any]:
        return [entry["resource"] for entry in SEED["entry"]]

    def _bytes(self, tree: Any) -> bytes:
        raw: bytes = json.dumps(tree, ensure_ascii=self._pick.random() < 0.5).encode("utf-8", "surrogatepass")
        if self._pick.random() < 0.05:
            place = self._pick.randrange(len(raw))
            junk: bytes = self._one([b"\x00", b"\xff", b'"', b"{", b"1e999", b"[" * 3000])
            return raw[:place] + junk + raw[place:]
        return raw


def places_of(tree: Any) -> list[Any]:
    """The values at all places."""
    found = [tree]
    for below in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        found += places_of(below)
    return found


def fault(asked: Ask, answer: httpx.Response) -> str | None:
    """What is wrong with an answer; None when nothing is."""
    method, path, body, _ = asked
    if answer.status_code >= 500:
        return f"{answer.status_code} {answer.text[:200]}"
    if method == "HEAD" or answer.status_code in (204, 304) or not answer.content:
        return None
    kind = answer.headers.get("content-type", "")
    if "json" not in kind:
        return None if answer.status_code < 300 else f"{answer.status_code} of type {kind}"
    found = answer.json()
    if "errors" in found:  # GraphQL's own form holds the outcome
        found = found["errors"][0]["extensions"]["resource"]
    if answer.status_code >= 400 and found.get("resourceType") != "OperationOutcome":
        return f"{answer.status_code} without an OperationOutcome: {answer.text[:200]}"
    if path == "/fhir" and answer.status_code == 200 and body is not None:
        sent, back = len(json.loads(body).get("entry", ())), len(found.get("entry", ()))
        if sent != back:
            return f"{sent} entries sent, {back} came back"
    return None


def run(client: httpx.Client, seed: int, minutes: float) -> int:
    junk, counts, faults = Junk(seed), Counter[int](), Counter[str]()
    until = time.monotonic() + minutes * 60
    while time.monotonic() < until:
        asked = junk.ask()
        method, path, body, headers = asked
        try:
            answer = client.request(method, path, content=body, headers=headers)
        except httpx.InvalidURL:
            continue
        except httpx.HTTPError as error:
            faults[repr(error)[:80]] += 1
            print(f"{error!r}\n  {method} {path[:300]} {headers} {(body or b'')[:3000]!r}", flush=True)
            continue
        counts[answer.status_code] += 1
        if answer.status_code == 200 and b'"relation":"next"' in answer.content and len(junk.cursors) < 200:
            links = [one["url"] for one in answer.json().get("link", ()) if one["relation"] == "next"]
            junk.cursors += [f"/fhir{link.partition('/fhir')[2]}" for link in links]
        words = fault(asked, answer)
        if words is not None:
            if not faults[words[:60]]:
                print(f"{words}\n  {method} {path[:300]} {headers} {(body or b'')[:3000]!r}", flush=True)
            faults[words[:60]] += 1
    print(f"{counts.total()} requests: {dict(sorted(counts.items()))}; {faults.total()} faults")
    for words, number in faults.most_common():
        print(f"  {number} {words}")
    return int(faults.total() > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        running_suite(Path(name), "up", "--no-auth") as suite,
        httpx.Client(base_url=suite.base_url, timeout=120) as client,
    ):
        client.post("/fhir", json=SEED, headers={"content-type": "application/fhir+json"})
        return run(client, asked.seed, asked.minutes)


if __name__ == "__main__":
    sys.exit(main())
