"""The part of a push that is work for a processor: parse, validate, rewrite references, cut, index.

A pure function of the bytes sent; it runs in the worker processes. Ids of new resources are chosen here, so
that references between entries can be written at once; an entry that turns out to be in the store already
gets the stored id later, by replacing its (unique) chosen one in the texts that use it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from health import keys
from health.fhir import extract, patient, protection, references, text, validation
from health.fhir.definitions import definitions
from health.fhir.entries import Conditional, Entry, Prepared
from health.fhir.outcome import Issue, Refusal, refused
from services.kit.ids import uuid7
from services.kit.telemetry import holds_citizen_number

SERVER_SETS = ("versionId", "lastUpdated")
_BUNDLE_ALONE = ("ifNoneMatch", "ifModifiedSince")
_SUSPICIOUS = (b"\\u", b"\\b", b"\\f")

# When a resource happened, for a person's timeline: the first of these that it has.
_OCCURRED = (
    "effectiveDateTime", "effectivePeriod", "effectiveInstant", "performedDateTime", "performedPeriod",
    "occurrenceDateTime", "occurrencePeriod", "onsetDateTime", "onsetPeriod", "period", "start", "started",
    "startDate", "authoredOn", "recordedDate", "billablePeriod", "date", "dateTime", "sent", "whenHandedOver",
    "created", "issued", "recorded",
)  # fmt: skip


def bundle(raw: bytes, base: str) -> Prepared:
    """A transaction Bundle, ready for the store.

    Args:
        base: this server's base URL with a slash at its end.

    Raises:
        Refusal: everything found wrong with it, each naming its place.
    """
    tree, plain = _parsed(raw, "Bundle")
    kind = tree.get("resourceType")
    if kind != "Bundle":
        raise refused(
            400, "invalid", f"this path takes a Bundle; post a {kind} to its own type", "resourceType"
        )
    if tree.get("type") != "transaction":
        raise refused(400, "not-supported", "only Bundles of type transaction are taken", "Bundle.type")
    _raise(validation.schema_issues("Bundle", plain, "Bundle"))
    found = list(enumerate(tree.get("entry", ())))
    _raise(issue for i, entry in found for issue in _request_issues(entry, f"Bundle.entry[{i}]", base))
    _raise(_repeated(tree.get("entry", ())))
    _raise(
        issue
        for i, entry in enumerate(plain.get("entry", ()))
        for issue in validation.issues_of(entry["resource"], f"Bundle.entry[{i}].resource")
    )
    return _settled(
        [_entry_of(i, entry, base) for i, entry in found], [e["resource"] for _, e in found], base
    )


def resource(raw: bytes, base: str, kind: str, id: str | None) -> Prepared:
    """One resource by itself, ready for the store.

    Args:
        id: the id of the URL for an update; None for a create, whose own id is left aside.

    Raises:
        Refusal: everything found wrong with it.
    """
    if id is not None and holds_citizen_number(id):
        raise Refusal(400, [_number_as_id(f"{kind}.id")])
    tree, plain = _parsed(raw, kind)
    if tree.get("resourceType") != kind:
        said = tree.get("resourceType")
        raise refused(
            400, "invalid", f"this path takes a {kind}; the body is a {said}", f"{kind}.resourceType"
        )
    _raise(validation.issues_of(plain, kind))
    if id is not None and tree.get("id") != id:
        raise refused(400, "invalid", f"the URL says id {id}, the body {tree.get('id')}", f"{kind}.id")
    method = "POST" if id is None else "PUT"
    entry = Entry(0, kind, kind, id or str(uuid7()), method, "", "")
    return _settled([entry], [tree], base, alone=True)


def _parsed(raw: bytes, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The body twice: with literal numbers, to be stored, and plain, to be validated."""
    tree = text.parsed(text.decoded(raw))
    if not isinstance(tree, dict):
        raise refused(400, "structure", "the body is not a JSON object", path)
    if any(mark in raw for mark in _SUSPICIOUS):
        _raise(issue for issue in [text.unstorable(tree, path)] if issue is not None)
    return tree, text.plain(raw)


def _raise(issues: Iterable[Issue], status: int = 400) -> None:
    found = list(issues)
    if found:
        raise Refusal(status, found)


def _request_issues(entry: dict[str, Any], path: str, base: str) -> Iterator[Issue]:
    resource, request = entry.get("resource"), entry.get("request")
    if request is None:
        yield Issue("required", "an entry of a transaction says in `request` what to do", f"{path}.request")
        return
    method, url = request.get("method"), request.get("url")
    if method not in {"POST", "PUT"}:
        words = f"{method} in a transaction is not supported here; POST and PUT are"
        yield Issue("not-supported", words, f"{path}.request.method")
        return
    if resource is None:
        yield Issue("required", f"{method} needs a resource", f"{path}.resource")
        return
    for name in _BUNDLE_ALONE + (("ifNoneExist",) if method == "PUT" else ("ifMatch",)):
        if name in request:
            yield Issue("not-supported", f"{name} has no meaning with {method}", f"{path}.request.{name}")
    yield from _url_issues(method, str(url).removeprefix(base), resource, path)


def _url_issues(method: str, url: str, resource: dict[str, Any], path: str) -> Iterator[Issue]:
    kind = resource.get("resourceType")
    where = f"{path}.request.url"
    if method == "POST":
        if url != kind:
            yield Issue("invalid", f"POST of a {kind} goes to the url {kind!r}, not {url[:80]!r}", where)
        return
    if url.startswith(f"{kind}?"):
        if "id" in resource:
            words = "an update by search finds the id itself; leave it out"
            yield Issue("invalid", words, f"{path}.resource.id")
        return
    local = references.LOCAL.fullmatch(url)
    if local is None or local[1] != kind or local[3] is not None:
        yield Issue("invalid", f"PUT of a {kind} goes to {kind}/id or {kind}?search, not {url[:80]!r}", where)
    elif holds_citizen_number(local[2]):
        yield _number_as_id(where)
    elif resource.get("id") != local[2]:
        words = f"the url says id {local[2]!r}, the resource {resource.get('id')!r}"
        yield Issue("invalid", words, f"{path}.resource.id")


def _number_as_id(where: str) -> Issue:
    return Issue("security", "a citizen number must not be an id: ids stand in URLs", where)


def _repeated(entries: list[dict[str, Any]]) -> Iterator[Issue]:
    """No fullUrl twice (bdl-7), and nothing updated twice in one transaction (http.html#trules)."""
    urls: dict[str, int] = {}
    updates: dict[str, int] = {}
    for i, entry in enumerate(entries):
        full_url = entry.get("fullUrl")
        if full_url is not None and urls.setdefault(full_url, i) != i:
            words = f"the fullUrl of Bundle.entry[{urls[full_url]}] stands here again: {full_url[:120]}"
            yield Issue("duplicate", words, f"Bundle.entry[{i}].fullUrl")
        request = entry["request"]
        if request["method"] == "PUT" and updates.setdefault(request["url"], i) != i:
            words = f"Bundle.entry[{updates[request['url']]}] updates {request['url'][:80]} already"
            yield Issue("duplicate", words, f"Bundle.entry[{i}].request.url")


def _entry_of(index: int, entry: dict[str, Any], base: str) -> Entry:
    request, kind = entry["request"], entry["resource"]["resourceType"]
    url, condition = request["url"].removeprefix(base), request.get("ifNoneExist")
    id = str(uuid7())
    if request["method"] == "PUT":
        _, _, condition = url.partition("?")
        id = id if condition else url.rpartition("/")[2]
    return Entry(
        index=index,
        path=f"Bundle.entry[{index}]",
        type=kind,
        id=id,
        method=request["method"],
        full_url=entry.get("fullUrl"),
        condition=condition.removeprefix("?") if condition else None,
        if_match=request.get("ifMatch"),
        meta="",
        rest="",
    )


def _settled(
    entries: list[Entry], resources: list[dict[str, Any]], base: str, *, alone: bool = False
) -> Prepared:
    """References rewritten, index rows taken, texts cut."""
    resolver = references.Resolver(
        base=base,
        targets={entry.full_url: entry.local for entry in entries if entry.full_url},
        stand_in=None if alone else lambda kind: f"{kind}/{uuid7()}",
    )
    issues: list[Issue] = []
    for entry, tree in zip(entries, resources, strict=True):
        try:
            _settle(entry, tree, resolver)
        except references.Dangling as dangling:
            issues.append(dangling.issue)
        except ValueError as error:
            issues.append(Issue("value", str(error)[:200], entry.resource_path))
    _raise(issues)
    here = {entry.local for entry in entries}
    return Prepared(
        entries=entries,
        conditionals=[
            Conditional(c.type, c.query, c.stand_in, c.paths) for c in resolver.conditions.values()
        ],
        outside={target: paths for target, paths in resolver.outside.items() if target not in here},
    )


def _settle(entry: Entry, tree: dict[str, Any], resolver: references.Resolver) -> None:
    resolver.used.clear()
    resolver.entry_base = references.entry_base(entry.full_url)
    references.rewrite(tree, entry.resource_path, resolver.targets, resolver)
    entry.uses = sorted(resolver.used)
    rows = extract.rows_of(tree)
    entry.tokens = list(rows.tokens)
    entry.references = [list(row) for row in rows.references]
    entry.dates = [list(row) for row in rows.dates]
    entry.patient = extract.patient_of(tree)
    entry.occurred = _occurred(tree)
    entry.special = protection.is_special(tree)
    entry.treats = protection.treating(tree)
    if entry.treats is not None:
        entry.treated = protection.treated_until(tree)
    if entry.type == "Patient":
        entry.person = patient.person_of(tree)
    entry.identifiers = [
        keys.token_key_asked(entry.type, "identifier", system, code)
        for system, code in _identifiers(tree, entry.type)
    ]
    meta = tree.pop("meta", None) or {}
    entry.meta = text.written({k: v for k, v in meta.items() if k not in SERVER_SETS})[1:-1]
    entry.rest = text.written({k: v for k, v in tree.items() if k not in ("resourceType", "id")})[1:-1]


def _identifiers(tree: dict[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    if "identifier" in definitions().parameters.get(kind, {}) and isinstance(tree.get("identifier"), list):
        for identifier in tree["identifier"]:
            if identifier.get("system") and identifier.get("value"):
                yield identifier["system"], identifier["value"]


def _occurred(tree: dict[str, Any]) -> int | None:
    for name in _OCCURRED:
        value = tree.get(name)
        if isinstance(value, dict):
            low, high = extract.period(value)
            return low if low != extract.BEGINLESS else high if high != extract.ENDLESS else None
        if isinstance(value, str):
            return extract.interval(value)[0]
    return None
