"""What the entries of a batch or transaction ask, and whether they may (FHIR R4 http.html#trules)."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from health.fhir import extract, references, text
from health.fhir.entries import Entry, Request, Target
from health.fhir.negotiation import JSON_PATCH
from health.fhir.outcome import MEDIA_TYPE, Issue, refused
from services.kit.ids import uuid7
from services.kit.telemetry import holds_citizen_number

READS = ("GET", "HEAD")
_WITH_RESOURCE = ("POST", "PUT", "PATCH")
_CHANGES = ("PUT", "PATCH", "DELETE")
_CONDITIONS = {
    "POST": {"ifNoneExist"},
    "PUT": {"ifMatch"},
    "PATCH": {"ifMatch"},
    "DELETE": {"ifMatch"},
    "GET": {"ifNoneMatch", "ifModifiedSince"},
    "HEAD": {"ifNoneMatch", "ifModifiedSince"},
}
_HEADERS = {
    "ifMatch": "if-match",
    "ifNoneMatch": "if-none-match",
    "ifModifiedSince": "if-modified-since",
    "ifNoneExist": "if-none-exist",
}


Numbered = Sequence[tuple[int, dict[str, Any]]]
"""Entries and their places in the Bundle."""


def unasked(entries: Numbered) -> Iterator[Issue]:
    """Entries that do not say what to do (bdl-3)."""
    for i, entry in entries:
        if "request" not in entry:
            words = "an entry of a batch or transaction says in `request` what to do"
            yield Issue("required", words, f"Bundle.entry[{i}].request")
            continue
        for name in ("method", "url"):
            if not isinstance(entry["request"].get(name), str):
                yield Issue("required", f"{name} is missing", f"Bundle.entry[{i}].request.{name}")


def issues_of(entry: dict[str, Any], path: str, base: str) -> Iterator[Issue]:
    """What is wrong with an entry of a transaction beside its resource."""
    resource, request = entry.get("resource"), entry["request"]
    method, url = request["method"], str(request["url"]).removeprefix(base)
    if method in _WITH_RESOURCE and resource is None:
        yield Issue("required", f"{method} needs a resource", f"{path}.resource")
        return
    if method not in _WITH_RESOURCE and resource is not None:
        yield Issue("invalid", f"{method} takes no resource", f"{path}.resource")
    for name in _HEADERS.keys() & request.keys() - _CONDITIONS[method]:
        yield Issue("not-supported", f"{name} has no meaning with {method}", f"{path}.request.{name}")
    if method == "POST":
        kind = (resource or {}).get("resourceType")
        if url != kind:
            words = f"POST of a {kind} goes to the url {kind!r}, not {url[:80]!r}"
            yield Issue("invalid", words, f"{path}.request.url")
    elif method in _CHANGES:
        yield from _url_issues(method, url, resource, path)


def _url_issues(method: str, url: str, resource: dict[str, Any] | None, path: str) -> Iterator[Issue]:
    where = f"{path}.request.url"
    found = references.LOCAL.fullmatch(url) or references.CONDITIONAL.fullmatch(url)
    kind = found[1] if found else None
    if found is None or (found.re is references.LOCAL and found[3] is not None):
        yield Issue("invalid", f"{method} goes to Type/id or Type?search, not {url[:80]!r}", where)
        return
    if method == "PATCH":
        yield from _patch_issues(resource or {}, path)
    if method != "PUT" or resource is None:
        return
    if kind != resource.get("resourceType"):
        said = resource.get("resourceType")
        words = f"PUT of a {said} goes to {said}/id or {said}?search, not {url[:80]!r}"
        yield Issue("invalid", words, where)
    elif found.re is references.CONDITIONAL:
        if holds_citizen_number(str(resource.get("id", ""))):
            yield number_as_id(f"{path}.resource.id")
    elif holds_citizen_number(found[2]):
        yield number_as_id(where)
    elif resource.get("id") != found[2]:
        words = f"the url says id {found[2]!r}, the resource {resource.get('id')!r}"
        yield Issue("invalid", words, f"{path}.resource.id")


def _patch_issues(resource: dict[str, Any], path: str) -> Iterator[Issue]:
    kind = resource.get("resourceType")
    if kind == "Binary" and resource.get("contentType") != JSON_PATCH:
        words = f"a Binary that patches has the contentType {JSON_PATCH}"
        yield Issue("not-supported", words, f"{path}.resource.contentType")
    elif kind not in {"Binary", "Parameters"}:
        words = f"a patch is a Binary of {JSON_PATCH} or Parameters, no {kind}"
        yield Issue("invalid", words, f"{path}.resource")


def number_as_id(where: str) -> Issue:
    return Issue("security", "a citizen number must not be an id: ids stand in URLs", where)


def repeated(entries: Numbered) -> Iterator[Issue]:
    """No fullUrl twice (bdl-7), and nothing changed twice in one transaction."""
    urls: dict[str, int] = {}
    changes: dict[str, int] = {}
    for i, entry in entries:
        full_url = entry.get("fullUrl")
        if full_url is not None and urls.setdefault(full_url, i) != i:
            words = f"the fullUrl of Bundle.entry[{urls[full_url]}] stands here again: {full_url[:120]}"
            yield Issue("duplicate", words, f"Bundle.entry[{i}].fullUrl")
        request = entry["request"]
        if request["method"] in _CHANGES and changes.setdefault(request["url"], i) != i:
            words = f"Bundle.entry[{changes[request['url']]}] changes {request['url'][:80]} already"
            yield Issue("duplicate", words, f"Bundle.entry[{i}].request.url")


def write_of(index: int, entry: dict[str, Any], base: str) -> Entry:
    """The entry of a POST, PUT, PATCH or DELETE."""
    request, resource = entry["request"], entry.get("resource") or {}
    method, url = request["method"], request["url"].removeprefix(base)
    kind, _, condition = url.partition("?")
    kind, _, id = kind.partition("/")
    said = resource.get("id") if method == "PUT" and condition else None
    return Entry(
        index=index,
        path=f"Bundle.entry[{index}]",
        type=kind,
        id=id or said or str(uuid7()),
        method=method,
        full_url=entry.get("fullUrl"),
        condition=(request.get("ifNoneExist") or condition).removeprefix("?") or None,
        if_match=request.get("ifMatch"),
        id_said=said is not None,
        meta="",
        rest="",
    )


def target_of(index: int, entry: dict[str, Any], base: str) -> Target:
    """What a PATCH changes."""
    kind, _, condition = entry["request"]["url"].removeprefix(base).partition("?")
    kind, _, id = kind.partition("/")
    return Target(index, f"Bundle.entry[{index}]", kind, id or None, condition or None)


def patch_of(resource: dict[str, Any]) -> Any:
    """The patch that an entry of a transaction holds, parsed."""
    return resource if resource["resourceType"] != "Binary" else text.parsed(text.decoded(_data(resource)))


def _data(binary: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(binary.get("data", ""))
    except (binascii.Error, ValueError, TypeError):
        return b""  # which is no JSON, as the patch will be told


def request_of(index: int, entry: dict[str, Any], base: str) -> Request:
    """The entry as a request of its own."""
    asked, resource = entry["request"], entry.get("resource")
    headers = {header: asked[name] for name, header in _HEADERS.items() if name in asked}
    if since := headers.get("if-modified-since"):
        headers["if-modified-since"] = format_datetime(_moment(since, index), usegmt=True)
    body = None
    if resource is not None:
        if asked["method"] == "PATCH" and resource.get("resourceType") == "Binary":
            headers["content-type"] = resource.get("contentType", "")
            body = _data(resource).decode(errors="replace")
        else:
            headers["content-type"] = MEDIA_TYPE
            body = text.written(resource)
    return Request(index, asked["method"], asked["url"].removeprefix(base), headers, body)


def _moment(written: str, index: int) -> datetime:
    try:
        return extract.moment(extract.interval(written)[0])
    except ValueError as error:
        where = f"Bundle.entry[{index}].request.ifModifiedSince"
        raise refused(400, "value", f"{written!r} is no instant", where) from error
