"""The part of a push that is work for a processor: parse, validate, rewrite references, cut, index.

A pure function of the bytes sent; it runs in the worker processes. Ids of new resources are chosen here, so
that references between entries can be written at once; an entry that turns out to be in the store already
gets the stored id later, by replacing its (unique) chosen one in the texts that use it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from health import keys
from health.fhir import (
    custom,
    extract,
    indexing,
    labels,
    patching,
    patient,
    protection,
    references,
    requests,
    text,
    validation,
)
from health.fhir.definitions import definitions
from health.fhir.entries import Conditional, Entry, Prepared
from health.fhir.outcome import Issue, Refusal, refused
from services.kit.ids import uuid7
from services.kit.telemetry import holds_citizen_number

SERVER_SETS = ("versionId", "lastUpdated")
_SUSPICIOUS = (b"\\u", b"\\b", b"\\f")

Stored = dict[str, Any]
"""A resource as it is kept: its `id`, `version` and `body`."""

# When a resource happened, for a person's timeline: the first of these that it has.
_OCCURRED = (
    "effectiveDateTime", "effectivePeriod", "effectiveInstant", "performedDateTime", "performedPeriod",
    "occurrenceDateTime", "occurrencePeriod", "onsetDateTime", "onsetPeriod", "period", "start", "started",
    "startDate", "authoredOn", "recordedDate", "billablePeriod", "date", "dateTime", "sent", "whenHandedOver",
    "created", "issued", "recorded",
)  # fmt: skip

_TEMPORAL = frozenset({"Period", "date", "dateTime", "instant"})


def bundle(raw: bytes, base: str, stored: Mapping[str, Stored], *, unchecked: bool = False) -> Prepared:
    """A batch or transaction Bundle, ready for the doors or the store.

    Args:
        base: this server's base URL with a slash at its end.
        stored: what its patches change, by the entry's index; without it that is all that is told.
        unchecked: references may lead nowhere.

    Raises:
        Refusal: everything found wrong with it, each naming its place.
    """
    tree, plain = _parsed(raw, "Bundle"), text.plain(raw)
    kind, type_ = tree.get("resourceType"), tree.get("type")
    if kind != "Bundle":
        raise refused(
            400, "invalid", f"this path takes a Bundle; post a {kind} to its own type", "resourceType"
        )
    if type_ not in ("batch", "transaction"):
        words = "only Bundles of type batch or transaction are taken"
        raise refused(400, "not-supported", words, "Bundle.type")
    _raise(validation.schema_issues("Bundle", plain, "Bundle"))
    found = list(enumerate(tree.get("entry", ())))
    _raise(requests.unasked(found))
    if type_ == "batch":
        return Prepared([], requests=[requests.request_of(i, e, base) for i, e in found], batch=True)
    _raise(issue for i, entry in found for issue in requests.issues_of(entry, f"Bundle.entry[{i}]", base))
    _raise(requests.repeated(found))
    return _transaction(found, plain.get("entry", ()), base, stored, unchecked=unchecked)


def _transaction(
    found: Sequence[tuple[int, dict[str, Any]]],
    plain: Sequence[dict[str, Any]],
    base: str,
    stored: Mapping[str, Stored],
    *,
    unchecked: bool,
) -> Prepared:
    by_method: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for i, entry in found:
        by_method.setdefault(entry["request"]["method"], []).append((i, entry))
    kept = sorted([*by_method.get("POST", ()), *by_method.get("PUT", ())], key=lambda one: one[0])
    _raise(
        issue
        for i, _ in kept
        for issue in validation.issues_of(plain[i]["resource"], f"Bundle.entry[{i}].resource")
    )
    reads = [*by_method.get("GET", ()), *by_method.get("HEAD", ())]
    asked = [requests.request_of(i, entry, base) for i, entry in reads]
    patches = by_method.get("PATCH", ())
    if patches and not stored:
        targets = [requests.target_of(i, entry, base) for i, entry in patches]
        return Prepared([], targets=targets, requests=asked)
    entries = [requests.write_of(i, entry, base) for i, entry in kept]
    trees = [entry["resource"] for _, entry in kept]
    for i, entry in patches:
        patch = requests.write_of(i, entry, base)
        trees.append(_patched(patch, stored[str(i)], requests.patch_of(entry["resource"])))
        entries.append(patch)
    prepared = _settled(entries, trees, base, unchecked=unchecked)
    prepared.deletes = [requests.write_of(i, entry, base) for i, entry in by_method.get("DELETE", ())]
    prepared.requests = asked
    return prepared


def _patched(entry: Entry, stored: Stored, patch: Any) -> dict[str, Any]:
    """What a stored resource becomes by a patch, to which the entry is made to lead."""
    tree = patching.patched(text.parsed(stored["body"]), patch)
    _raise(validation.issues_of(text.plain(text.written(tree).encode()), entry.resource_path), 422)
    entry.id, entry.over, entry.condition = stored["id"], stored["version"], None
    return tree


def patch(raw: bytes, base: str, kind: str, stored: Stored) -> Prepared:
    """What one resource becomes by a patch, ready for the store.

    Raises:
        Refusal: it cannot be applied, or what comes of it is not right.
    """
    said = text.parsed(text.decoded(raw))
    unstorable = text.unstorable(said, kind)
    _raise([unstorable] if unstorable is not None else [])
    entry = Entry(0, kind, kind, "", "PATCH", "", "")
    return _settled([entry], [_patched(entry, stored, said)], base, alone=True)


def resource(
    raw: bytes,
    base: str,
    kind: str,
    id: str | None,
    *,
    unchecked: bool = False,
    plain: dict[str, Any] | None = None,
) -> Prepared:
    """One resource by itself, ready for the store.

    Args:
        id: the id of the URL for an update, empty for one by search; None for a create, whose own id is left
            aside.
        unchecked: references may lead nowhere.
        plain: the body as `text.plain` reads it, where that is done.

    Raises:
        Refusal: everything found wrong with it.
    """
    tree = _parsed(raw, kind)
    plain = plain or text.plain(raw)
    if tree.get("resourceType") != kind:
        said = tree.get("resourceType")
        raise refused(
            400, "invalid", f"this path takes a {kind}; the body is a {said}", f"{kind}.resourceType"
        )
    _raise(validation.issues_of(plain, kind))
    said = tree.get("id") if id is not None else None
    if any(holds_citizen_number(one) for one in (id, said) if one):
        raise Refusal(400, [requests.number_as_id(f"{kind}.id")])
    if id and said != id:
        raise refused(400, "invalid", f"the URL says id {id}, the body {said}", f"{kind}.id")
    method = "POST" if id is None else "PUT"
    entry = Entry(0, kind, kind, said or str(uuid7()), method, "", "", id_said=said is not None)
    return _settled([entry], [tree], base, alone=True, unchecked=unchecked)


def _parsed(raw: bytes, path: str) -> dict[str, Any]:
    """The body with literal numbers, to be stored; what is validated is read from it plain."""
    tree = text.parsed(text.decoded(raw))
    if not isinstance(tree, dict):
        raise refused(400, "structure", "the body is not a JSON object", path)
    if any(mark in raw for mark in _SUSPICIOUS):
        _raise(issue for issue in [text.unstorable(tree, path)] if issue is not None)
    return tree


def _raise(issues: Iterable[Issue], status: int = 400) -> None:
    found = list(issues)
    if found:
        raise Refusal(status, found)


def _settled(
    entries: list[Entry],
    resources: list[dict[str, Any]],
    base: str,
    *,
    alone: bool = False,
    unchecked: bool = False,
) -> Prepared:
    """References rewritten, index rows taken, texts cut."""
    resolver = references.Resolver(
        base=base,
        unchecked=unchecked,
        targets={entry.full_url: entry.local for entry in entries if entry.full_url},
        stand_in=None if alone else lambda kind: f"{kind}/{uuid7()}",
    )
    issues: list[Issue] = []
    for entry, tree in zip(entries, resources, strict=True):
        try:
            _settle(entry, tree, resolver)
        except references.Dangling as dangling:
            issues.append(dangling.issue)
        except custom.WrongParameter as wrong:
            issues.append(wrong.issue(entry.resource_path))
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
        parameters=custom.known().version,
    )


def _settle(entry: Entry, tree: dict[str, Any], resolver: references.Resolver) -> None:
    if entry.type == "AuditEvent" and entry.id.startswith(references.LEAF_ID):
        raise ValueError(
            f"ids that begin with {references.LEAF_ID} are those of the access log; choose another"
        )
    resolver.used.clear()
    resolver.entry_base = references.entry_base(entry.full_url)
    references.rewrite(tree, entry.resource_path, resolver.targets, resolver)
    entry.uses = sorted(resolver.used)
    entry.meta, entry.rest = _cut(tree)
    entry.special, rest = labels.protected(tree, entry.rest)
    indexing.note(entry, extract.rows_of(tree if rest is None else rest, custom.kept(entry.type)))
    if entry.type == "SearchParameter":
        custom.parameters_in(tree)
    entry.patient = extract.patient_of(tree)
    entry.occurred = _occurred(tree)
    entry.treats = protection.treating(tree)
    if entry.treats is not None:
        entry.treated = protection.treated_until(tree)
    if entry.type == "Patient":
        entry.person = patient.person_of(tree)
    entry.identifiers = [
        keys.token_key_asked(entry.type, "identifier", system, code)
        for system, code in _identifiers(tree, entry.type)
    ]
    if rest is not None:
        entry.redacted = list(_cut(rest))


def _cut(tree: dict[str, Any]) -> tuple[str, str]:
    """The members of `meta`, and all others but id and type, as text without braces."""
    meta = tree.get("meta") or {}
    said = {k: v for k, v in meta.items() if k not in SERVER_SETS}
    others = {k: v for k, v in tree.items() if k not in ("resourceType", "id", "meta")}
    return text.written(said)[1:-1], text.written(others)[1:-1]


def _identifiers(tree: dict[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    if "identifier" in definitions().parameters.get(kind, {}) and isinstance(tree.get("identifier"), list):
        for identifier in tree["identifier"]:
            if identifier.get("system") and identifier.get("value"):
                yield identifier["system"], identifier["value"]


def _occurred(tree: dict[str, Any]) -> int | None:
    known = definitions().elements[tree["resourceType"]]
    for name in _OCCURRED:
        # Of a GraphDefinition `start` is a type.
        value = tree.get(name) if known.get(name) in _TEMPORAL else None
        if isinstance(value, dict):
            low, high = extract.period(value)
            return low if low != extract.BEGINLESS else high if high != extract.ENDLESS else None
        if isinstance(value, str):
            return extract.interval(value)[0]
    return None
