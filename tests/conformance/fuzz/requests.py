"""Requests to `/fhir` of every form, right ones and spoilt ones, made by hypothesis."""

import copy
import gzip
import json
import re
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import UUID

from hypothesis import strategies as st

from health.fhir.definitions import definitions
from tests.conformance.fuzz.operations import Operations, expression_of
from tests.conformance.fuzz.resources import LITERAL, Resources
from tests.health.support import FHIR_JSON
from tests.health.test_fuzz import JUNK, SEED, holder, places

IDS_MAX, LINKS_MAX = 20, 200


@dataclass(frozen=True, slots=True)
class Ask:
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Known:
    """What the server has told: a few resources of each type, and links to next pages."""

    def __init__(self) -> None:
        self.stored: dict[str, deque[str]] = {}
        self.links: deque[str] = deque(maxlen=LINKS_MAX)

    def note(self, location: str) -> None:
        """`…/Type/id`, perhaps with a version."""
        steps = location.partition("/_history/")[0].split("/")[-2:]
        if len(steps) == 2 and steps[0] in definitions().resources:
            self.stored.setdefault(steps[0], deque(maxlen=IDS_MAX)).append("/".join(steps))


def _words(text: str) -> list[str]:
    return text.split()


TYPES = sorted(definitions().resources)
OFTEN = ["Patient", "Observation", "Organization", "Encounter", "Condition"]
SEEDS = [entry["resource"] for entry in SEED["entry"]]
ODD: list[Any] = [
    f"{LITERAL}1e400", f"{LITERAL}-1E-400", f"{LITERAL}{'9' * 5000}", f"{LITERAL}0.{'0' * 2000}1", LITERAL,
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999999-14:00", "9999", "0000-01-01",
    "2016-12-31T23:59:60Z", "a" * 64, "a" * 65, "x" * 100_000, "\u200b", "é", " ", "a\tb", 2**63, 1e308,
    "urn:uuid:x", "http://[", "data:text/plain,x", "//x", "Patient/p1/_history/x", "#p1", -(2**31) - 1,
]  # fmt: skip
"""What has the form of a value, and is at the edge of what can be kept or beyond."""
METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"]
URLS = [
    "", " ", "#", "?", "Patient/1", "Patient?x", "Patient?identifier=urn:mrn|1", "urn:uuid:", "http://",
    "Bundle", "Observation?_sort=x", "Patient/_search", "_history", "Patient/p1/$everything", "metadata",
    "\x00", "\ud800", "Patient/p1/_history/1", "$export", "Observation/$lastn?patient=p1",
    "ValueSet/$expand", "Patient/$match",
]  # fmt: skip
WORDS = [
    "", "x", "|", "a|", "|a", "a|b|c", ",", ",,", "\\", "\\,", "$", "a$b", "$$", "gt", "ge2020", "eq1e5",
    "1e999", "ap5.4|http://unitsofmeasure.org|mg", "lt||g", "-0", "NaN", "9" * 400, "2020", "2020-13",
    "0000-01-01", "sa9999", "eb0001", "2020-01-01T25:00", "T", "Patient/1", "Patient/", "/", "#a",
    "urn:uuid:x", "http://a/b|1", "http://", "\x00", "\x1f", "%", "%%", "_", "'", '"', ";", "--", "true",
    "null", "　", "张", "\U0001f600", "a" * 3000, "1|2|3|4|5", "40|116|10|km", "10000000000000000000",
    "-99999999999999999999999", ",".join("abc" * 60), 'W/"1"', "identifier=a|b", "2020-01-01T00:00:00Z",
]  # fmt: skip
RIGHT = {
    "token": [
        "a",
        "http://example.org/codes|a",
        "|a",
        "active",
        "urn:mrn|1",
        "true",
        "http://example.org/codes|",
    ],
    "string": ["x", "张", "o'b", "50 %"],
    "reference": ["Patient/p1", "p1", "Observation/1", "http://example.org/x"],
    "date": ["2020", "ge2020-01", "lt2026-05-01T08:00:00Z", "ne2020-02-29", "ap2020", "sa2019", "eb2030"],
    "number": ["0", "gt0.5", "le100", "ne1", "ap7", "1e2"],
    "quantity": [
        "72.5|http://unitsofmeasure.org|mg",
        "gt0.1||g",
        "7",
        "le1|http://unitsofmeasure.org|kg",
        "ap70",
    ],
    "uri": ["http://example.org/x", "urn:mrn"],
    "composite": ["http://example.org/codes|a$7", "a$gt1", "a$b", "a$2020", "a$x"],
    "special": ["40|116|10|km", "39.9|116.4"],
}
MODIFIERS = [
    ":exact", ":contains", ":missing", ":not", ":text", ":in", ":not-in", ":above", ":below", ":identifier",
    ":of-type", ":Patient", ":Patient.name", ".name", ".subject.name", ":x", ":", ":iterate", ".identifier",
]  # fmt: skip
RESULTS = _words("""
    _count _sort _include _revinclude _include:iterate _summary _elements _total _page _contained
    _containedType _score _has:Observation:patient:code _has:a _filter _query _content _text _list
    _type _since _at _format _pretty _id _lastUpdated _tag
""")
PAIRS = [
    "_count=3", "_count=0", "_sort=_lastUpdated", "_sort=-_id", "_summary=true", "_summary=count",
    "_total=accurate", "_elements=id", "_include=*", "_revinclude=*", "_lastUpdated=gt2020",
    "_since=2020-01-01T00:00:00Z", "_has:Observation:patient:code=a", "_type=Patient,Observation",
    "_include:iterate=*",
]  # fmt: skip
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
VALUES = _words("""
    valueString valueUri valueCode valueInteger valueBoolean valueCoding resource part valueDateTime
    valueX
""")
HEADERS: list[dict[str, str]] = [
    {"if-none-exist": "identifier=a|b"}, {"if-match": 'W/"1"'}, {"if-match": "junk"},
    {"if-none-match": "*"}, {"prefer": "handling=lenient"},
    {"prefer": "return=OperationOutcome, respond-async"}, {"if-none-exist": "\\"},
    {"if-modified-since": "yesterday"}, {"content-encoding": "zstd"}, {"accept": "text/*"},
    {"content-type": "application/fhir+xml"}, {"accept": "application/fhir+xml"}, {"content-type": ""},
    {"content-type": "application/fhir+json; charset=gbk"}, {"accept": "*/*;q=x"}, {"accept": ",;=,"},
    {"if-match": 'W/"' + "9" * 5000 + '"'}, {"if-match": "*"}, {"if-none-match": 'W/"1", "x", *'},
    {"if-modified-since": "Mon, 01 Jan 0001 00:00:00 +1400"}, {"if-none-exist": "_id=" + "x," * 3000},
    {"if-modified-since": "Fri, 31 Dec 9999 23:59:59 -1400"}, {"if-none-exist": "name=\xe5\xbc\xa0"},
    {"if-none-exist": "\xff\xfe=%00"}, {"idempotency-key": ""}, {"idempotency-key": "k"},
    {"idempotency-key": "k" * 201}, {"idempotency-key": "\xff"}, {"prefer": "return=;;=,handling"},
    {"x-references": "x"}, {"range": "bytes=5-1"}, {"accept-encoding": "gzip;q=x"}, {"x-request-id": "a\t'"},
    {"accept": "application/octet-stream"}, {"traceparent": "00-x"}, {"accept-language": "zh;q=9e999"},
]  # fmt: skip


@st.composite
def asks(draw: st.DrawFn, known: Known) -> Ask:
    """A request, whose body may be spoilt in up to three places by values of any kind."""
    pick = draw(st.randoms(note_method_calls=False, use_true_random=False))
    spoilt = draw(st.just([]) | st.lists(JUNK | st.sampled_from(ODD), max_size=3))
    return _Maker(pick, known, spoilt).ask()


class _Maker:
    def __init__(self, pick: Random, known: Known, junk: list[Any]) -> None:
        self._pick = pick
        self._known = known
        self._junk = junk
        self._local: dict[str, str] = {}
        self._resources = Resources(pick, known.stored, self._local)

    def ask(self) -> Ask:
        forms = [self._bundle] * 3 + [self._search] * 3 + [self._write] * 3 + [self._operation] * 2
        made = self._one([*forms, self._patch, self._delete, self._read, self._page, self._elsewhere])()
        headers = {"content-type": FHIR_JSON, "x-references": "unchecked", **made.headers}
        if self._junk and self._pick.randrange(2):
            headers |= self._one(HEADERS)
        if made.body and self._junk and self._pick.randrange(20) == 0:
            packed = gzip.compress(made.body)
            cut = packed[: self._one([len(packed), len(packed) // 2, 5])]
            return Ask(made.method, made.path, cut, {**headers, "content-encoding": "gzip"})
        return Ask(made.method, made.path, made.body, headers)

    def _one(self, among: Any) -> Any:
        return self._pick.choice(among)

    def _kind(self) -> str:
        kind: str = self._one(OFTEN if self._pick.randrange(4) == 0 else TYPES)
        return kind

    def _place(self, kind: str) -> str:
        """`Type/id`: mostly of something that is there."""
        stored = self._known.stored.get(kind)
        if stored and self._pick.randrange(5):
            return str(self._one(list(stored)))
        wrong = ["x y", "x" * 70, "%00", "1/2", ""] if self._junk else []
        return f"{kind}/{self._one(['p1', 'p2', 'new', *wrong])}"

    def _resource(self, kind: str) -> dict[str, Any]:
        if self._pick.randrange(10) == 0:
            return copy.deepcopy(self._one(SEEDS))
        if kind in ("SearchParameter", "Subscription"):
            return self._operations().told()
        return self._resources.one(kind, self._one([0, 12, 40]))

    def _operations(self) -> Operations:
        kind = self._kind()
        return Operations(self._pick, self._resources, self._place(kind), self._query(kind))

    # Single requests

    def _write(self) -> Ask:
        """Create and update, by id or by search; validation."""
        kind = self._kind()
        resource, place, query = self._resource(kind), self._place(kind), self._query(kind)
        match self._pick.randrange(5):
            case 0:
                return Ask("POST", f"/fhir/{kind}", self._bytes(resource), {"if-none-exist": _header(query)})
            case 1:
                return Ask("PUT", f"/fhir/{kind}?{query}", self._bytes(resource))
            case 2:
                resource["id"] = place.partition("/")[2]
                return Ask("PUT", f"/fhir/{place}", self._bytes(resource))
            case 3 if self._pick.randrange(3) == 0:
                return Ask("POST", f"/fhir/{kind}/$validate", self._bytes(resource))
        return Ask("POST", f"/fhir/{kind}", self._bytes(resource))

    def _patch(self) -> Ask:
        kind = self._kind()
        path = self._one([self._place(kind), f"{kind}?{self._query(kind)}"])
        if self._pick.randrange(2):
            return Ask("PATCH", f"/fhir/{path}", self._bytes(self._fhirpath_patch(kind)))
        body = self._bytes(self._json_patch(kind))
        return Ask("PATCH", f"/fhir/{path}", body, {"content-type": "application/json-patch+json"})

    def _delete(self) -> Ask:
        kind = self._kind()
        return Ask("DELETE", f"/fhir/{self._one([self._place(kind)] * 2 + [f'{kind}?{self._query(kind)}'])}")

    def _read(self) -> Ask:
        kind = self._kind()
        place = self._place(kind)
        ends = [
            "",
            "",
            "/_history",
            "/_history/1",
            "/_history/2",
            "/$everything",
            "/Observation",
            "/_history/%00",
        ]
        known = {"if-none-match": self._one(['W/"1"', "*", "x"])} if self._pick.randrange(4) == 0 else {}
        return Ask(self._one(["GET", "GET", "HEAD"]), f"/fhir/{place}{self._one(ends)}", None, known)

    def _search(self) -> Ask:
        kind = self._kind()
        query = self._query(kind)
        if self._pick.randrange(10) == 0:
            form = {"content-type": "application/x-www-form-urlencoded"}
            return Ask("POST", f"/fhir/{kind}/_search", query.encode(), form)
        paths = [kind, kind, kind, f"{kind}/_history", "", "_history", f"Patient/p1/{kind}"]
        return Ask("GET", f"/fhir/{self._one(paths)}?{query}")

    def _query(self, kind: str) -> str:
        """One to three parameters of the type, rightly asked or not."""
        known = definitions().parameters[kind]
        pairs = []
        for _ in range(self._pick.choice([1, 1, 2, 3])):
            name = self._one(sorted(known))
            match self._pick.randrange(8 if self._junk else 5):
                case 0 | 1 | 2 | 3:
                    pairs.append(f"{quote(name)}={quote(self._one(RIGHT[known[name].kind]))}")
                case 4:
                    pairs.append(self._one(PAIRS))
                case 5:
                    word = self._one(RIGHT[known[name].kind])
                    pairs.append(f"{quote(name + self._one(MODIFIERS))}={quote(word)}")
                case _:
                    name = self._one([name, self._one(RESULTS)]) + self._one(["", self._one(MODIFIERS)])
                    word = self._one(
                        [self._one(WORDS), f"{kind}:{self._one(sorted(known))}", self._one(WORDS) * 2]
                    )
                    pairs.append(f"{quote(name)}={quote(word)}")
        if self._junk and self._pick.randrange(20) == 0:
            pairs *= self._one([2, 100])
        return "&".join(pairs)

    def _page(self) -> Ask:
        """A link the server gave, as it is or with a few characters changed."""
        if not self._known.links:
            return Ask("GET", "/fhir/Observation?_count=1")
        path = self._one(list(self._known.links))
        if self._pick.randrange(3) == 0:
            return Ask("GET", path)
        at = self._pick.randrange(len(path.partition("?")[0]), len(path) + 1)
        changed = path[:at] + self._one(["", "A", "%00", "=", "&"]) + path[at + self._pick.randrange(3) :]
        return Ask("GET", changed)

    def _operation(self) -> Ask:
        if self._pick.randrange(4):
            path, body, headers = self._operations().one()
            if body is None:
                return Ask("GET", f"/fhir/{quote(path, safe='/?&=$')}", None, headers)
            raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else self._bytes(body)
            return Ask("POST", f"/fhir/{path}", raw, headers)
        owners = ["", "/Patient", "/Patient/p1", "/Observation", "/ValueSet", "/CodeSystem", "/Group/x"]
        path = f"/fhir{self._one([*owners, f'/{self._place(self._kind())}'])}/{self._one(OPERATIONS)}"
        if self._pick.randrange(5) < 2:
            pairs = [
                f"{self._one(PARAMETERS)}={quote(self._one(WORDS))}" for _ in range(self._pick.randrange(4))
            ]
            return Ask("GET", f"{path}?{'&'.join(pairs)}")
        given = [
            {"name": self._one(PARAMETERS), self._one(VALUES): self._one([*self._junk, *WORDS[:20], *SEEDS])}
            for _ in range(self._pick.randrange(5))
        ]
        return Ask("POST", path, self._bytes({"resourceType": "Parameters", "parameter": given}))

    def _elsewhere(self) -> Ask:
        """What is no resource: uploads, bulk requests, code lists; Binaries in their own form."""
        raw = self._one(
            [b"", b"\x00", b"\xff\xfe", b"code,display\na,b\n", b'"', b"code\r\n,\n", bytes(3000)]
        )
        csv = {"content-type": self._one(["text/csv", "text/csv; charset=gb18030", "text/csv; charset=x"])}
        system = self._one(["urn:x", "urn:y", "x y", ""])
        doors = ["metadata", ".well-known/smart-configuration", "/"]
        found: Ask = self._one([
            Ask("POST", "/fhir/bulk/uploads", raw, {"content-type": "application/fhir+ndjson"}),
            Ask("GET", f"/fhir/bulk/{self._one([UUID(int=1), 'x', f'{UUID(int=1)}/x'])}"),
            Ask("DELETE", f"/fhir/bulk/{UUID(int=1)}"),
            Ask("POST", f"/health/code-lists?system={quote(system)}&hierarchy=parent", raw, csv),
            Ask("POST", "/fhir/Binary", raw, {"content-type": self._one(["text/plain", "x", "a/b;c"])}),
            Ask("PUT", "/fhir/Binary/p1", raw, {"content-type": "application/pdf"}),
            Ask("GET", "/fhir/Binary/p1", None, {"accept": self._one(["text/plain", "*/*", "x"])}),
            Ask(self._one(METHODS), f"/fhir/{self._one(doors)}"),
        ])  # fmt: skip
        return found

    # Bundles

    def _bundle(self) -> Ask:
        """A batch or transaction of entries that refer to each other by `urn:uuid`."""
        kinds = [self._kind() for _ in range(self._pick.randrange(7))]
        urls = [f"urn:uuid:{UUID(int=(n + 1) << 64 | 4 << 76 | 8 << 60)}" for n in range(len(kinds))]
        self._local.update(zip(urls, kinds, strict=True))
        entries = [self._entry(kind, url) for kind, url in zip(kinds, urls, strict=True)]
        kept = {entry.get("fullUrl") for entry in entries}
        bundle = {"resourceType": "Bundle", "type": self._one(["batch", "transaction"]), "entry": entries}
        if self._pick.randrange(8) == 0:
            bundle["entry"] += copy.deepcopy(SEED["entry"])
        if len(kept) < len(urls) and self._pick.randrange(4):  # else with references that lead nowhere
            raw = json.dumps(bundle)
            for url in set(urls) - kept:
                raw = raw.replace(url, "Patient/p1")
            bundle = json.loads(raw)
        return Ask("POST", "/fhir", self._bytes(bundle))

    def _entry(self, kind: str, url: str) -> dict[str, Any]:
        place, query = self._place(kind), self._query(kind)
        conditions = {"ifNoneExist": query, "ifMatch": 'W/"1"', "ifNoneMatch": "x", "ifModifiedSince": "2020"}
        found: dict[str, Any]
        match self._pick.randrange(13 if self._junk else 12):
            case 0 | 1 | 2 | 3 | 4:
                asked = {"method": "POST", "url": kind}
                if self._pick.randrange(5) == 0:
                    asked["ifNoneExist"] = query
                found = {"fullUrl": url, "resource": self._resource(kind), "request": asked}
            case 5 | 6:
                resource = self._resource(kind) | {"id": place.partition("/")[2]}
                found = {"fullUrl": url, "resource": resource, "request": {"method": "PUT", "url": place}}
            case 7:
                asked = {"method": "PUT", "url": f"{kind}?{query}"}
                found = {"fullUrl": url, "resource": self._resource(kind), "request": asked}
            case 8:
                asked = {"method": "PATCH", "url": self._one([place, f"{kind}?{query}"])}
                found = {"resource": self._fhirpath_patch(kind), "request": asked}
            case 9:
                found = {"request": {"method": "DELETE", "url": self._one([place, f"{kind}?{query}"])}}
            case 10:
                found = {"request": {"method": "GET", "url": self._one([place, f"{kind}?{query}"])}}
            case 11:
                path, body, _ = self._operations().one()
                found = {"request": {"method": "GET" if body is None else "POST", "url": path}}
                if isinstance(body, dict) and "resourceType" in body:
                    found["resource"] = body
            case _:
                found = {"request": {"method": self._one(METHODS), "url": self._one(URLS)}}
                if self._pick.randrange(2):
                    found["resource"] = self._resource(kind)
        if self._junk and self._pick.randrange(5) == 0:
            name = self._one(sorted(conditions))
            found["request"][name] = conditions[name]
        return found

    def _fhirpath_patch(self, kind: str) -> dict[str, Any]:
        name = self._one(sorted(definitions().elements[kind]))
        paths = [f"{kind}.{name}", kind, f"{kind}.{name}[0]", "a(", *[expression_of(self._pick, kind)] * 3]
        parts = [
            {"name": "type", "valueCode": self._one(["add", "insert", "delete", "replace", "move", "x"])},
            {"name": "path", "valueString": self._one(paths)},
            {"name": "name", "valueString": self._one([name, "birthDate", "_x", ""])},
            {"name": "index", "valueInteger": self._one([0, -1, 10**6])},
            {
                "name": "value",
                self._one(["valueDate", "valueString", "valueX"]): self._one(["2020", *self._junk]),
            },
        ]
        return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}

    def _json_patch(self, kind: str) -> list[dict[str, Any]]:
        name = self._one(sorted(definitions().elements[kind]))
        paths = [
            f"/{name}",
            f"/{name}",
            f"/{name}/0",
            f"/{name}/-",
            "",
            "/",
            "/a/b",
            "/~2",
            f"/{name}/99999999999",
        ]
        return [
            {
                "op": self._one(["add", "remove", "replace", "move", "copy", "test", "x"]),
                "path": self._one(paths),
                "from": self._one(paths),
                "value": self._one([*self._junk, *self._resource(kind).values()]),
            }
        ]

    # What is wrong with them

    def _bytes(self, tree: Any) -> bytes:
        for value in self._junk:
            tree = self._spoilt(tree, value)
        written = json.dumps(tree, ensure_ascii=bool(self._pick.randrange(2)))
        raw = re.sub(rf'"{LITERAL}([^"]*)"', r"\1", written).encode("utf-8", "surrogatepass")
        if self._junk and self._pick.randrange(10) == 0:
            at = self._pick.randrange(len(raw))
            junk: bytes = self._one([b"\x00", b"\xff", b'"', b"{", b"1e999", b"[" * 3000])
            return raw[:at] + junk + raw[at:]
        return raw

    def _spoilt(self, tree: Any, value: Any) -> Any:
        """The tree with one place dropped, doubled, renamed, or with another value in it."""
        at = self._one(places(tree) or [()])
        if not at:
            return tree
        tree = copy.deepcopy(tree)
        around = holder(tree, at)
        match self._pick.randrange(5):
            case 0:
                del around[at[-1]]
            case 1:
                around[at[-1]] = [copy.deepcopy(around[at[-1]])] * 2
            case 2 if isinstance(around, dict):
                name = self._one(["id", "extension", "_x", "url", "request", "resource", ""])
                around[name] = around.pop(at[-1])
            case 3:
                other: Any = tree
                for step in self._one(places(tree)):
                    other = other[step]
                around[at[-1]] = copy.deepcopy(other)
            case _:
                around[at[-1]] = copy.deepcopy(value)
        return tree


def _header(query: str) -> str:
    """A search as a header may hold it."""
    return quote(query, safe="&=?:|,.$%/-_")
