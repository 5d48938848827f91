"""SQL on FHIR: what a view makes of resources, what of a view is refused, and the door that runs one."""

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from health.fhir.outcome import Refusal
from health.fhir.views import answer, run, viewed
from services.kit.database import Database
from tests.health.bulk import asked, done
from tests.health.conftest import Hospital
from tests.health.support import body, observation, patient
from tests.health.test_fuzz import holder, places, refusal_of

ZHANG: dict[str, Any] = patient(
    id="z",
    active=True,
    name=[{"family": "张", "given": ["三", "小三"]}, {"family": "章"}],
    contact=[{"name": {"family": "李"}, "telecom": [{"system": "phone", "value": n} for n in "12"]}],
)
WANG: dict[str, Any] = patient(id="w", active=False)
FORM: dict[str, Any] = {
    "resourceType": "QuestionnaireResponse", "id": "q", "status": "completed",
    "item": [
        {"linkId": "1", "item": [{"linkId": "1.1", "answer": [{"item": [{"linkId": "1.1.1"}]}]}]},
        {"linkId": "2"},
    ],
}  # fmt: skip


def column(path: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"path": path, "name": name or path, **more}


def view(*selects: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resource": "Patient", "select": list(selects), **more}


def rows(definition: dict[str, Any], *resources: dict[str, Any]) -> list[tuple[Any, ...]]:
    return viewed(definition).of_lines([json.dumps(one) for one in resources or (ZHANG, WANG)])


ID = {"column": [column("id")]}


@pytest.mark.parametrize(
    ("definition", "found"),
    [
        pytest.param(view(ID), [("z",), ("w",)], id="columns"),
        pytest.param(view(ID, where=[{"path": "active"}]), [("z",)], id="where"),
        pytest.param(
            view(ID, {"forEach": "name", "column": [column("family"),
                                                column("%rowIndex", "i", type="integer")]}),
            [("z", "张", 0), ("z", "章", 1)],
            id="forEach",
        ),
        pytest.param(
            view(ID, {"forEachOrNull": "contact.telecom", "column": [column("value")]}),
            [("z", "1"), ("z", "2"), ("w", None)],
            id="forEachOrNull",
        ),
        pytest.param(
            view({"unionAll": [{"forEach": "name", "column": [column("family")]},
                               {"forEach": "contact.name", "column": [column("family")]}]}),
            [("张",), ("章",), ("李",)],
            id="unionAll",
        ),
        pytest.param(
            view(ID, {"column": [column("name.given", "given", collection=True)]}),
            [("z", ["三", "小三"]), ("w", [])],
            id="collection",
        ),
        pytest.param(
            view({"column": [column("name.where(family = %wanted).exists()", "is", type="boolean")]},
                 constant=[{"name": "wanted", "valueString": "章"}]),
            [(True,), (False,)],
            id="constant",
        ),
        pytest.param(
            view({"column": [column("name.first()", "name", type="HumanName")]}),
            [('{"family":"张","given":["三","小三"]}',), (None,)],
            id="complex",
        ),
    ],
)  # fmt: skip
def test_the_rows_of_a_view(definition: dict[str, Any], found: list[tuple[Any, ...]]) -> None:
    assert rows(definition) == found


def test_repeat_goes_down_a_tree_in_its_order() -> None:
    definition = {
        "resource": "QuestionnaireResponse",
        "select": [{"repeat": ["item", "answer.item"], "column": [column("linkId")]}],
    }
    assert rows(definition, FORM) == [("1",), ("1.1",), ("1.1.1",), ("2",)]


def test_keys_join_and_other_places_do_not() -> None:
    paths = ["subject.getReferenceKey(Patient)", "subject.getReferenceKey(Group)"]
    definition = {
        "resource": "Observation",
        "select": [{"column": [column(p, f"k{i}") for i, p in enumerate(paths)]}],
    }
    measured = [observation("Patient/z"), observation("https://there/fhir/Patient/z")]
    assert rows(definition, *measured) == [("z", None), ("https://there/fhir/Patient/z", None)]
    assert rows(view({"column": [column("getResourceKey()", "key")]}), ZHANG) == [("z",)]


@pytest.mark.parametrize(
    ("definition", "place"),
    [
        ([], "ViewDefinition"),
        ({}, "ViewDefinition.resource"),
        (view(), "ViewDefinition.select"),
        (view(ID) | {"resource": "Patients"}, "ViewDefinition.resource"),
        (view(ID, sort="x"), "ViewDefinition.sort"),
        (view({"column": [column("id", "1")]}), "ViewDefinition.select[0].column[0].name"),
        (view({"column": [column("id.", "id")]}), "ViewDefinition.select[0].column[0].path"),
        (view({"column": [column("id", type="Id")]}), "ViewDefinition.select[0].column[0].type"),
        (view({"column": [{"name": "id"}]}), "ViewDefinition.select[0].column[0].path"),
        (view({"column": [column("%who", "id")]}), "ViewDefinition.select[0].column[0].path"),
        (view({"forEach": 1, "column": []}), "ViewDefinition.select[0].forEach"),
        (view({"forEach": "name", "forEachOrNull": "name", **ID}), "ViewDefinition.select[0]"),
        (view({"forEach": "name"}), "ViewDefinition.select[0]"),
        (view(ID, ID), "ViewDefinition.select"),
        (view({"unionAll": [ID, {"column": [column("active")]}]}), "ViewDefinition.select[0].unionAll[1]"),
        (view(ID, constant=[{"name": "x"}]), "ViewDefinition.constant[0]"),
        (view(ID, constant=[{"name": "x", "valueInteger": "1"}]), "ViewDefinition.constant[0].valueInteger"),
        # What only the resources show.
        (view(ID, where=[{"path": "name.family.first()"}]), "ViewDefinition.where[0].path"),
        (view({"column": [column("name.family", "family")]}), "ViewDefinition.select[0].column[0].path"),
        (view({"column": [column("id", type="integer")]}), "ViewDefinition.select[0].column[0].path"),
        (view({"column": [column("2147483648", "n", type="integer")]}),
         "ViewDefinition.select[0].column[0].path"),
        (view({"column": [column("9223372036854775808", "n", type="integer64")]}),
         "ViewDefinition.select[0].column[0].path"),
        (view({"column": [column("18446744073709551616 'mg'", "n", type="Quantity")]}),
         "ViewDefinition.select[0].column[0].path"),
        (view({"column": [column("10.power(1000).power(5)", "n")]}),
         "ViewDefinition.select[0].column[0].path"),
    ],
)  # fmt: skip
def test_a_wrong_view_is_refused_with_the_place(definition: Any, place: str) -> None:
    with pytest.raises(Refusal) as refusal:
        rows(definition)
    assert (refusal.value.status, refusal.value.issues[0].expression) == (422, place)


EVERYTHING = view(
    ID | {"select": [{"forEach": "name", "column": [column("family", type="string", collection=False)]}]},
    {"unionAll": [{"forEachOrNull": "contact", "column": [column("gender")]},
                  {"repeat": ["contact.telecom"], "column": [column("'x'", "gender")]}]},
    where=[{"path": "active = %wanted"}],
    constant=[{"name": "wanted", "valueBoolean": True}],
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None,
    True,
    1,
    -1.5,
    "",
    "a.b",
    "%x",
    "\x00",
    "\ud800",
    [],
    {},
    [None],
    [[]],
    ["x"],
    [{}],
    {"a": "x"},
)


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_a_view_with_anything_at_any_place_is_run_or_refused(odd: Any) -> None:
    assert len(rows(EVERYTHING)) == 6
    for path in places(EVERYTHING):
        spoilt: Any = copy.deepcopy(EVERYTHING)
        holder(spoilt, path)[path[-1]] = odd
        found = refusal_of(partial(rows, spoilt))
        assert not isinstance(found, Refusal) or found.status == 422, path


def test_numbers_in_a_complex_cell_stay_numbers() -> None:
    definition = {"resource": "Observation", "select": [{"column": [column("value", type="Quantity")]}]}
    raw = json.dumps(observation(valueQuantity={"value": 0})).replace('"value": 0', '"value": 72.50')
    assert viewed(definition).of_lines([raw]) == [('{"value":72.50}',)]


def test_rows_of_one_resource_are_bounded() -> None:
    names = patient(name=[{"family": str(n)} for n in range(50)])
    over = [{"forEach": "name", "column": [column("family", f"c{n}")]} for n in range(3)]
    with pytest.raises(Refusal, match="more than 10000 rows"):
        rows(view(*over), names)


def test_files_become_a_typed_table(tmp_path: Path) -> None:
    measured = observation("Patient/z", valueQuantity={"value": 72.50}) | {"id": "o"}
    lines = "".join(json.dumps(one) + "\n" for one in (ZHANG, measured, WANG))
    (tmp_path / "all.ndjson").write_text(lines, "utf-8")
    definition = view(
        {"column": [column("id"), column("active", type="boolean")]},
        {"column": [column("name.given", "given", collection=True)]},
        {"column": [column("name.count()", "n", type="integer")]},
    )
    with duckdb.connect() as connection:
        pq.write_table(pa.table({run.RESOURCE: lines.splitlines()}), tmp_path / "all.parquet")
        for source in ("all.ndjson", "all.parquet"):
            table = run.relation(viewed(definition), [tmp_path / source], connection)
            assert [str(kind) for kind in table.types] == ["VARCHAR", "BOOLEAN", "VARCHAR[]", "INTEGER"]
            assert table.fetchall() == [("z", True, ["三", "小三"], 2), ("w", False, [], 0)]


async def test_a_view_over_an_export_and_over_what_is_sent(
    hospital: Hospital, records: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = await hospital(purpose="operations"), await hospital("hospital-2", purpose="operations")
    for one in (ZHANG, WANG):
        kept = await mine.post("/fhir/Patient", content=body(one))
        assert kept.status_code == 201, kept.text
    location = await asked(mine, "/fhir/$export?_type=Patient")
    await done(mine, records, location)
    families = view({"forEach": "name", "column": [column("family")]})
    source = {"name": "source", "valueString": location.rpartition("/")[2]}

    def said(definition: Any, *more: dict[str, Any]) -> bytes:
        given = [{"name": "viewResource", "resource": definition}, *more]
        return body({"resourceType": "Parameters", "parameter": given})

    found = await mine.post("/fhir/$viewdefinition-run", content=said(families, source))
    assert [json.loads(line) for line in found.text.splitlines()] == [{"family": "张"}, {"family": "章"}]
    table = {"name": "_format", "valueCode": "csv"}
    sent = await mine.post(
        "/fhir/$viewdefinition-run", content=said(families, table, {"name": "resource", "resource": ZHANG})
    )
    assert (sent.text, sent.headers["content-type"]) == ("family\r\n张\r\n章\r\n", "text/csv; charset=utf-8")
    named = await mine.post("/fhir/$viewdefinition-run?_format=csv", content=said(families, source))
    assert named.text == sent.text
    few = {"name": "_limit", "valueInteger": 1}
    with monkeypatch.context() as narrow:
        narrow.setattr(answer, "ROWS_MAX", 1)
        many = await mine.post("/fhir/$viewdefinition-run", content=said(families, source))
        assert (many.status_code, many.json()["issue"][0]["code"]) == (422, "too-costly")
        first = await mine.post("/fhir/$viewdefinition-run", content=said(families, source, few))
        assert first.text == '{"family":"张"}\n'
    refused = await theirs.post("/fhir/$viewdefinition-run", content=said(families, source))
    assert refused.status_code == 404
    wrong = await mine.post(
        "/fhir/$viewdefinition-run", content=said(view({"column": [column("x y")]}), source)
    )
    assert wrong.status_code == 422
    assert wrong.json()["issue"][0]["expression"] == ["ViewDefinition.select[0].column[0].name"]
    beyond = said(view({"column": [7]}), source).replace(b"[7]", b"[1e400]")
    assert (await mine.post("/fhir/$viewdefinition-run", content=beyond)).status_code == 400
    endless = view({"column": [column("name.given.first().matches('(.+)+#')", "x", type="boolean")]})
    slow = {"name": "resource", "resource": patient(name=[{"given": ["三" * 60]}])}
    monkeypatch.setattr(answer, "CHUNK_S", 1.0)
    cut = await mine.post("/fhir/$viewdefinition-run", content=said(endless, slow))
    assert (cut.status_code, cut.json()["issue"][0]["code"]) == (422, "too-costly")
