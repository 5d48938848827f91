"""A ViewDefinition checked and compiled: what its columns are, and which rows a resource gives."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from health.fhir.definitions import definitions
from health.fhir.fhirpath import FHIRPathError, Node, Path, compiled, root
from health.fhir.text import Number
from health.fhir.views import cells
from health.fhir.views.cells import Names, asked, wrong

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LEVELS_MAX = 20
_ROWS_MAX = 10_000
"""Rows of one resource: two lists side by side are multiplied, ten of them are a mistake."""

_METADATA = frozenset(
    {"resourceType", "id", "meta", "implicitRules", "language", "text", "contained", "extension", "url",
     "modifierExtension", "identifier", "name", "title", "version", "versionAlgorithmString", "status",
     "experimental", "date", "publisher", "contact", "description", "useContext", "jurisdiction", "purpose",
     "copyright", "copyrightLabel", "fhirVersion", "profile"}
)  # fmt: skip
_ELEMENT = frozenset({"id", "extension", "modifierExtension"})
_VIEW = _METADATA | {"resource", "select", "where", "constant"}
_SELECT = _ELEMENT | {"select", "column", "unionAll", "forEach", "forEachOrNull", "repeat"}
_COLUMN = _ELEMENT | {"name", "path", "description", "type", "collection", "tag"}
_WHERE = _ELEMENT | {"path", "description"}
_BUILT_IN = frozenset({"%context", "%resource", "%rootResource", "%rowIndex"})

# How many digits a decimal has is part of it: 1.0 begins at 0.95, 1.00 at 0.995.
_DECODER = json.JSONDecoder(parse_float=Number)

Row = tuple[Any, ...]
Rows = Callable[[Node, Names], list[Row]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes:
        type: FHIR type of its values; `string` where the view does not say.
        collection: it holds a list of them.
    """

    name: str
    type: str
    collection: bool


@dataclass(frozen=True, slots=True)
class View:
    """A compiled ViewDefinition."""

    resource: str
    columns: tuple[Column, ...]
    _wanted: tuple[tuple[Path, str], ...]
    _constants: Names
    _rows: Rows

    def rows(self, resource: dict[str, Any]) -> list[Row]:
        """The rows of one resource, each as long as `columns`; none of one of another type.

        Raises:
            Refusal: 422 where a path gives what its column or condition cannot hold.
        """
        if resource.get("resourceType") != self.resource:
            return []
        node = root(resource)
        here = [node]
        names = {**self._constants, "%resource": here, "%rootResource": here, "%context": here}
        names["%rowIndex"] = cells.index(0)
        if not all(_is_wanted(path, node, names, at) for path, at in self._wanted):
            return []
        return self._rows(node, names)

    def of_lines(self, lines: Iterable[str]) -> list[Row]:
        """The rows of resources, each a text of JSON; raises Refusal as `rows` does."""
        return [row for line in lines for row in self.rows(_DECODER.decode(line))]


def viewed(definition: Any) -> View:
    """The view a ViewDefinition describes.

    Raises:
        Refusal: 422 with the place of what is wrong in it.
    """
    reader = _Reader(definition)
    select = reader.select({"select": definition["select"]}, "ViewDefinition", 0)
    names = [column.name for column in select.columns]
    for name in names:
        if names.count(name) > 1:
            raise wrong(f"two columns are named {name}", "ViewDefinition.select")
    return View(definition["resource"], select.columns, tuple(reader.wanted()), reader.constants, select.rows)


@dataclass(frozen=True, slots=True)
class _Part:
    """What some of a select gives: columns, and for one focus its rows."""

    columns: tuple[Column, ...]
    rows: Rows


class _Reader:
    def __init__(self, definition: Any) -> None:
        self._view = _members(definition, "ViewDefinition", _VIEW)
        kind = self._view.get("resource")
        if type(kind) is not str or kind not in definitions().resources:
            words = "is missing" if kind is None else f"{kind!r:.60} is no resource type of FHIR R4"
            raise wrong(f"resource: {words}", "ViewDefinition.resource")
        _some(self._view, "select", "ViewDefinition")
        self.constants = dict(self._constant(one, at) for one, at in _each(self._view, "constant"))

    def wanted(self) -> list[tuple[Path, str]]:
        """The conditions of the view, each with its place."""
        found = []
        for one, at in _each(self._view, "where"):
            _members(one, at, _WHERE)
            found.append((self._path(one.get("path"), f"{at}.path"), f"{at}.path"))
        return found

    def _constant(self, one: Any, at: str) -> tuple[str, list[Node]]:
        values = [name for name in _members(one, at) if name.startswith("value")]
        _check_name(one.get("name"), at)
        if len(values) != 1 or len(one.keys() - _ELEMENT) != 2:
            raise wrong("a constant has a name and one value[x]", at)
        kind = values[0][5:6].lower() + values[0][6:]
        value = one[values[0]]
        if kind not in cells.TYPES or not cells.is_of(value, kind):
            raise wrong(f"this is no {kind} of FHIR", f"{at}.{values[0]}")
        return f"%{one['name']}", [Node(value, kind)]

    def select(self, one: Any, at: str, level: int) -> _Part:
        """One select with those inside it; `at` is its place in the definition."""
        if level > _LEVELS_MAX:
            raise wrong(f"selects stand in selects more than {_LEVELS_MAX} deep", at)
        _members(one, at, _SELECT)
        parts = [self._columns(one, at)] if "column" in one else []
        parts += [self.select(inner, below, level + 1) for inner, below in _each(one, "select", at)]
        if "unionAll" in one:
            parts.append(self._union(one, at, level))
        if not parts:
            raise wrong("a select has columns, selects or a unionAll", at)
        columns = tuple(column for part in parts for column in part.columns)
        return _Part(columns, self._over(one, at, columns, _joined([part.rows for part in parts], at)))

    def _columns(self, one: dict[str, Any], at: str) -> _Part:
        columns, readers = [], []
        for column, below in _each(one, "column", at):
            _members(column, below, _COLUMN)
            _check_name(column.get("name"), below)
            kind = str(column.get("type", "string")).removeprefix(cells.STRUCTURE)
            if kind not in cells.TYPES and kind not in definitions().elements:
                raise wrong(f"{kind:.60} is no type of FHIR R4", f"{below}.type")
            many = column.get("collection", False)
            if type(many) is not bool:
                raise wrong("collection is true or false", f"{below}.collection")
            columns.append(Column(column["name"], kind, many))
            path = self._path(column.get("path"), f"{below}.path")
            readers.append(cells.reader(path, kind, many=many, at=f"{below}.path"))

        def rows(node: Node, names: Names) -> list[Row]:
            return [tuple([read(node, names) for read in readers])]

        return _Part(tuple(columns), rows)

    def _union(self, one: dict[str, Any], at: str, level: int) -> _Part:
        parts = [self.select(inner, below, level + 1) for inner, below in _each(one, "unionAll", at)]
        if not parts:
            raise wrong("a unionAll has selects", f"{at}.unionAll")
        for i, part in enumerate(parts):
            if part.columns != parts[0].columns:
                words = "has not the columns of the first, in name, type and order"
                raise wrong(f"this select {words}", f"{at}.unionAll[{i}]")

        def rows(node: Node, names: Names) -> list[Row]:
            return [row for part in parts for row in part.rows(node, names)]

        return _Part(parts[0].columns, rows)

    def _over(self, one: dict[str, Any], at: str, columns: Sequence[Column], rows: Rows) -> Rows:
        """The rows of each of what the select goes over."""
        given = [name for name in ("forEach", "forEachOrNull", "repeat") if name in one]
        if not given:
            return rows
        name = given[0]
        if len(given) > 1:
            raise wrong(f"{name} and {given[1]} exclude each other", at)
        of_nothing: list[Row] = [tuple([] if column.collection else None for column in columns)]
        if name == "repeat":
            paths = [self._path(said, below) for said, below in _each(one, "repeat", at)]
        else:
            paths = [self._path(one[name], f"{at}.{name}")]

        def run(node: Node, names: Names) -> list[Row]:
            over = _repeated if name == "repeat" else _found
            found = over(paths, node, names, at)
            if not found and name == "forEachOrNull":
                return of_nothing
            return [
                row
                for i, each in enumerate(found)
                for row in rows(each, {**names, "%context": [each], "%rowIndex": cells.index(i)})
            ]

        return run

    def _path(self, said: Any, at: str) -> Path:
        if type(said) is not str:
            raise wrong("a FHIRPath is wanted here, as text", at)
        try:
            path = compiled(said)
        except FHIRPathError as error:
            raise wrong(f"{said:.200}: {error}", at) from error
        for name in sorted(path.variables - self.constants.keys() - _BUILT_IN):
            raise wrong(f"no constant of the view is named {name[1:]}", at)
        return path


def _joined(parts: list[Rows], at: str) -> Rows:
    """Each row of each part beside each of the others'."""
    if len(parts) == 1:
        return parts[0]

    def run(node: Node, names: Names) -> list[Row]:
        found = [part(node, names) for part in parts]
        count = 1
        for rows in found:
            count *= len(rows)
        if count > _ROWS_MAX:
            raise wrong(f"one resource gives more than {_ROWS_MAX} rows", at)
        return [tuple(cell for row in rows for cell in row) for rows in product(*found)]

    return run


def _found(paths: list[Path], node: Node, names: Names, at: str) -> list[Node]:
    return [one for path in paths for one in asked(path, node, names, at)]


def _repeated(paths: list[Path], node: Node, names: Names, at: str) -> list[Node]:
    """What the paths lead to, and what they lead to from there, each before what is below it."""
    found: list[Node] = []
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if here is not node:
            found.append(here)
        waiting += [one for one in reversed(_found(paths, here, names, at)) if one.parent is not None]
        if len(found) > _ROWS_MAX:
            raise wrong(f"one resource gives more than {_ROWS_MAX} rows", at)
    return found


def _is_wanted(path: Path, node: Node, names: Names, at: str) -> bool:
    found = asked(path, node, names, at)
    if len(found) > 1 or (found and type(found[0].value) is not bool):
        raise wrong(f"{path.text:.200}: a condition is true or false", at)
    return bool(found) and found[0].value is True


def _members(one: Any, at: str, known: frozenset[str] | None = None) -> dict[str, Any]:
    if type(one) is not dict:
        raise wrong("an object is wanted here", at)
    for name in one:
        if known is not None and name.removeprefix("_") not in known:
            raise wrong(f"there is no {name:.60} here", f"{at}.{name:.60}")
    return one


def _some(of: Mapping[str, Any], name: str, at: str) -> None:
    if not of.get(name):
        raise wrong(f"{name} is missing", f"{at}.{name}")


def _each(of: Mapping[str, Any], name: str, at: str = "ViewDefinition") -> list[tuple[Any, str]]:
    items = of.get(name, [])
    if type(items) is not list:
        raise wrong(f"{name} is a list", f"{at}.{name}")
    return [(item, f"{at}.{name}[{i}]") for i, item in enumerate(items)]


def _check_name(name: Any, at: str) -> None:
    if type(name) is not str or _NAME.fullmatch(name) is None:
        raise wrong("a name has letters, digits and _, and begins with a letter", f"{at}.name")
