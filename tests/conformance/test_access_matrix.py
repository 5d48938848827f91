"""Role by field by owner: who sees what, over every field of the schema and every path of the services.

The expected verdicts are a table written by hand (access_matrix.toml), by class of data and by caller; they
are compared with what the running suite answered.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import get_named_type, is_leaf_type

from tests.conformance.matrix import documents, rest
from tests.conformance.matrix.documents import REFUSED, Seen
from tests.conformance.matrix.world import CALLERS, PERSONS, World, build
from tests.support.suite import Suite, running_suite

FILE = Path(__file__).with_name("access_matrix.toml")
TABLE: dict[str, Any] = tomllib.loads(FILE.read_text(encoding="utf-8"))
CLASSES: dict[str, dict[str, Any]] = TABLE["classes"]
SCHEMA = documents.schema()
FIELDS: dict[tuple[str, str], str] = {
    (kind, name): found
    for found, kinds in TABLE["fields"].items()
    for kind, names in kinds.items()
    for name in names
}
PATHS: dict[str, str] = {name: found for found, names in TABLE["paths"].items() for name in names}
UNFILLED = {(kind, name) for kind, names in TABLE["unfilled"].items() for name in names}
HOW = f"say who may see it in {FILE.name}; its first lines tell how"


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    """One of its own: what the owner has would not be on the first page of a list that journeys fill too."""
    folder = public_folders / "matrix"
    folder.mkdir()
    with running_suite(folder) as found:
        yield found


@pytest.fixture(scope="module")
def world(suite: Suite) -> World:
    return build(suite)


@pytest.fixture(scope="module")
def seen(world: World) -> dict[str, Seen]:
    return documents.by_caller(world, SCHEMA, TABLE["arguments"])


def test_every_field_and_every_path_has_a_verdict() -> None:
    fields = documents.fields(SCHEMA)
    new = sorted(".".join(one) for one in fields - FIELDS.keys())
    assert not new, f"fields without a verdict: {', '.join(new)}; {HOW}"
    gone = sorted(".".join(one) for one in FIELDS.keys() - fields)
    assert not gone, f"fields that are no more: {', '.join(gone)}; take them out of {FILE.name}"
    paths = {path.name for path in rest.paths()}
    new = sorted(paths - PATHS.keys())
    assert not new, f"paths without a verdict: {', '.join(new)}; {HOW}"
    gone = sorted(PATHS.keys() - paths)
    assert not gone, f"paths that are no more: {', '.join(gone)}; take them out of {FILE.name}"


def test_the_table_speaks_of_what_there_is() -> None:
    named = {*FIELDS.values(), *PATHS.values()}
    assert named == set(CLASSES), "classes that nothing has, or that are not described"
    callers = {one for found in CLASSES.values() for key in ("may", "sees") for one in found.get(key, ())}
    assert callers <= set(CALLERS)
    assert FIELDS.keys() >= UNFILLED
    assert {*TABLE["marked"], *TABLE["requests"], *TABLE["not_by"]} <= PATHS.keys()


def test_each_root_of_the_schema_lets_in_whom_it_may(seen: dict[str, Seen]) -> None:
    wrong = []
    for caller, found in seen.items():
        for root, code in found.codes.items():
            verdict = CLASSES[_class_of_root(root)]
            if "may" in verdict and (code not in REFUSED) is not (caller in verdict["may"]):
                wrong.append(f"{caller} at {root}: {code or 'let in'}")
    assert not wrong, "\n".join(wrong)


def _class_of_root(root: str) -> str:
    if root.startswith("me."):
        return FIELDS["Me", root.removeprefix("me.")]
    return FIELDS.get(("Query", root)) or FIELDS["Mutation", root]


def test_each_field_shows_the_owners_data_to_whom_it_may(seen: dict[str, Seen]) -> None:
    wrong = []
    for caller, found in seen.items():
        for place, name in FIELDS.items():
            verdict = CLASSES[name]
            if "sees" not in verdict or not _holds_a_value(*place):
                continue
            if caller in verdict["sees"]:
                # Staff see one usage, in a report on it, and perhaps one without a basis or a system.
                filled = place not in UNFILLED and (caller in PERSONS or not verdict.get("own"))
                if filled and place not in found.shown:
                    wrong.append(f"{caller} does not see {'.'.join(place)} ({name})")
            elif place in (found.owners if _sees_own(caller, verdict) else found.shown):
                wrong.append(f"{caller} sees {'.'.join(place)} ({name})")
    assert not wrong, "\n".join(wrong)


def _holds_a_value(kind: str, name: str) -> bool:
    found: Any = SCHEMA.type_map[kind]
    return kind not in {"Query", "Mutation"} and is_leaf_type(get_named_type(found.fields[name].type))


def _sees_own(caller: str, verdict: dict[str, Any]) -> bool:
    return bool(verdict.get("own")) and caller in PERSONS


def test_each_path_lets_in_whom_it_may_and_shows_the_owners_data_to_no_other(world: World) -> None:
    wrong = []
    answers = rest.asked(world, rest.paths(), TABLE["requests"], _left_out())
    for (name, caller), answer in answers.items():
        verdict = CLASSES[PATHS[name]]
        expected = caller in verdict["may"] if "may" in verdict else True
        if answer.opened is not expected:
            wrong.append(f"{caller} at {name}: {answer.status or 'no token'}")
        if answer.marked is not (caller in TABLE["marked"].get(name, ())):
            wrong.append(f"{caller} {'sees' if answer.marked else 'does not see'} the owner's data at {name}")
    assert not wrong, "\n".join(wrong)


def _left_out() -> dict[str, list[str]]:
    """What is open is asked by nobody in particular; the calls of `not_by` are left to who may not."""
    open_to_all = [name for name, found in PATHS.items() if "may" not in CLASSES[found]]
    everybody = [caller for caller in CALLERS if caller != "nobody"]
    not_by: dict[str, list[str]] = TABLE["not_by"]
    return {**dict.fromkeys(open_to_all, everybody), **not_by}
