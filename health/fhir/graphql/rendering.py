"""The answer to a query, as far as what it needs is at hand; what is not yet there is noted as wanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from health.fhir import references
from health.fhir.graphql.filters import as_text
from health.fhir.graphql.query import CONNECTION, EDGE, Field, is_resource, members, too_costly, wrong
from health.fhir.outcome import refused

VALUES_MAX = 100_000
"""Values of one answer."""

Resource = dict[str, Any]
Wanted = tuple[int, str]
"""A search by the number of its field, and the resource that what it finds refers to; "" for none."""


@dataclass(slots=True)
class Found:
    """What a search found."""

    resources: list[Resource]
    total: int | None = None
    page_size: int = 0
    offset: int = 0
    first: str | None = None
    next: str | None = None


@dataclass(slots=True)
class AtHand:
    """What has been loaded, and what is wanted further.

    Attributes:
        read: by `Type/id`; None for what is not there for this caller.
    """

    read: dict[str, Resource | None] = field(default_factory=dict)
    found: dict[Wanted, Found] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    searches: dict[Wanted, Field] = field(default_factory=dict)


class Output(dict[str, Any]):
    """An object of the answer, and of which type the values under each name are."""

    __slots__ = ("types",)

    def __init__(self) -> None:
        super().__init__()
        self.types: dict[str, str] = {}


def rendered(query: Sequence[Field], at_hand: AtHand, root: Resource | None) -> Output:
    """The data, whole when nothing is wanted afterwards.

    Raises:
        Refusal: 404 for a reference that leads to nothing here, 400 for what the data does not allow.
    """
    output = Output()
    about = _About(root, _local(root)) if root is not None else _About({}, "")
    type = root["resourceType"] if root is not None else "Query"
    _Rendering(at_hand).selected(query, root or {}, type, about, _Target(output))
    return output


@dataclass(frozen=True, slots=True)
class _About:
    """The resource a value stands in; `local` is empty where nothing can refer to it."""

    resource: Resource
    local: str


@dataclass(frozen=True, slots=True)
class _Target:
    """Where values are put.

    Attributes:
        listed: they are several, because what holds them repeats and is left out.
        suffix: of their names.
    """

    output: Output
    listed: bool = False
    suffix: str = ""

    def put(self, of: Field, value: Any, type: str, *, listed: bool, suffix: str = "") -> None:
        key, output = of.key + self.suffix + suffix, self.output
        if output.types.setdefault(key, type) != type:
            raise wrong(f"{key!r} would hold values of different types", of.where)
        if of.singleton or not (listed or self.listed):
            if key in output:
                raise wrong(f"{key!r} is to be one value, and there are several", of.where)
            output[key] = value
        else:
            output.setdefault(key, []).append(value)


class _Rendering:
    def __init__(self, at_hand: AtHand) -> None:
        self._at_hand = at_hand
        self._left = VALUES_MAX

    def selected(
        self, fields: Sequence[Field], value: Mapping[str, Any], type: str, about: _About, target: _Target
    ) -> None:
        for one in fields:
            if one.on is not None and type not in one.on:
                continue
            self._left -= 1
            if self._left < 0:
                raise too_costly(f"the answer holds more than {VALUES_MAX} values")
            match one.kind:
                case "element":
                    self._element(one, value, type, about, target)
                case "type":
                    target.put(one, type, "code", listed=False)
                case "reference":
                    self._reference(one, value, about, target)
                case "read":
                    self._read(one, f"{one.type}/{as_text(one.arguments['id'])}", target)
                case "list" | "connection":
                    self._search(one, about, target)

    def _element(
        self, of: Field, value: Mapping[str, Any], type: str, about: _About, target: _Target
    ) -> None:
        declared, held = members(type).get(of.name), value.get(of.name)
        if declared is None or held is None:
            return
        kind = declared.rstrip("*")
        items = of.filter(held if isinstance(held, list) else [held], kind)
        repeats = declared.endswith("*")
        self._items(of, items, kind, about, target, repeats=repeats, loaded=type == EDGE)

    def _items(
        self,
        of: Field,
        items: Sequence[Any],
        kind: str,
        about: _About,
        target: _Target,
        *,
        repeats: bool,
        loaded: bool = False,
    ) -> None:
        """
        Args:
            loaded: they are resources that stand by themselves.
        """
        for i, item in enumerate(items[:1] if of.first else items):
            suffix = _suffix(of, item, kind, i)
            if not of.fields or not isinstance(item, dict):
                target.put(of, item, kind, listed=repeats, suffix=suffix)
                self._left -= 1
                continue
            type = item["resourceType"] if kind == "Resource" else kind
            inside = _inside(about, item, of, loaded=loaded) if is_resource(type) else about
            if of.flatten:
                listed = target.listed or (repeats and not of.first)
                place = _Target(target.output, listed, target.suffix + suffix)
                self.selected(of.fields, item, type, inside, place)
            else:
                output = Output()
                self.selected(of.fields, item, type, inside, _Target(output))
                target.put(of, output, type, listed=repeats, suffix=suffix)

    def _reference(self, of: Field, value: Mapping[str, Any], about: _About, target: _Target) -> None:
        said, wanted = str(value.get("reference") or ""), of.arguments.get("type")
        local = references.LOCAL.fullmatch(said)
        if local is not None:
            if wanted not in (None, local[1]):
                return
            self._read(of, f"{local[1]}/{local[2]}", target, optional=bool(of.arguments.get("optional")))
            return
        found = _contained(about.resource, said)
        if found is not None and wanted in (None, found["resourceType"]):
            self._items(of, [found], "Resource", about, target, repeats=False)
        elif found is None and not of.arguments.get("optional"):
            words = (
                f"{said[:80] or 'the reference'} leads to nothing here; say optional: true to go on without"
            )
            raise refused(404, "not-found", words, of.where)

    def _read(self, of: Field, local: str, target: _Target, *, optional: bool = False) -> None:
        if local not in self._at_hand.read:
            self._at_hand.reads.add(local)
            return
        found = self._at_hand.read[local]
        if found is not None:
            about = _About(found, local)
            self._items(of, [found], "Resource", about, target, repeats=False, loaded=True)
        elif not optional:
            raise refused(404, "not-found", f"there is no {local} here for this caller", of.where)

    def _search(self, of: Field, about: _About, target: _Target) -> None:
        wanted = (id(of), about.local)
        if "_reference" in of.arguments and not about.local:
            return
        found = self._at_hand.found.get(wanted)
        if found is None:
            self._at_hand.searches[wanted] = of
            return
        resources = of.filter(found.resources, of.type)
        if of.kind == "connection":
            self._items(of, [_connection(found, resources)], CONNECTION, about, target, repeats=False)
            return
        if not resources and not of.flatten:
            target.output.setdefault(of.key + target.suffix, [])
        self._items(of, resources, "Resource", about, target, repeats=True, loaded=True)


def _connection(found: Found, resources: Sequence[Resource]) -> dict[str, Any]:
    return {
        "count": found.total,
        "offset": found.offset,
        "pagesize": found.page_size,
        "edges": [{"mode": "match", "resource": one} for one in resources],
        "first": found.first,
        "next": found.next,
    }


def _inside(about: _About, item: Resource, of: Field, *, loaded: bool) -> _About:
    if loaded:
        return _About(item, _local(item))
    # What is contained is found through the resource around it; what is in a Bundle stands by itself.
    return _About(item if of.kind == "element" and of.name != "contained" else about.resource, "")


def _local(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource.get('id', '')}"


def _contained(resource: Resource, said: str) -> Resource | None:
    if said == "#":
        return resource
    held: Sequence[Resource] = resource.get("contained", ())
    return next((one for one in held if said == f"#{one.get('id')}"), None)


def _suffix(of: Field, item: Any, kind: str, i: int) -> str:
    if of.by_index:
        return f".{i}"
    if of.slice is None:
        return ""
    return "." + ",".join(map(as_text, of.slice.values(item, kind)))
