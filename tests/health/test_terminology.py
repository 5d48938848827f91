"""Terminology at `/fhir`: expansions, codes and what is above them."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from health import terminology
from health.fhir.definitions import rules
from health.reaching import EVERYBODY
from health.terminology.concepts import ancestors
from services.kit.database import Database
from tests.health.conftest import Hospital
from tests.health.support import issues

GENDER = "http://hl7.org/fhir/ValueSet/administrative-gender"
GENDERS = "http://hl7.org/fhir/administrative-gender"
TYPES = "http://hl7.org/fhir/resource-types"
ROLES = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
SNOMED = "http://snomed.info/sct"

COLOURS: dict[str, Any] = {
    "resourceType": "CodeSystem",
    "url": "http://city.example/colours",
    "version": "1",
    "name": "Colours",
    "status": "active",
    "content": "complete",
    "property": [{"code": "warm", "type": "boolean"}, {"code": "wave", "type": "integer"}],
    "concept": [
        {
            "code": "red",
            "display": "Red",
            "designation": [{"language": "zh", "value": "红色"}],
            "property": [{"code": "warm", "valueBoolean": True}, {"code": "wave", "valueInteger": 700}],
            "concept": [
                {"code": "crimson", "display": "Crimson"},
                {
                    "code": "rust",
                    "display": "Rust",
                    "property": [{"code": "status", "valueCode": "retired"}],
                },
            ],
        },
        {"code": "blue", "display": "Blue"},
    ],
}


async def expanded(fhir: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    response = await fhir.get("/fhir/ValueSet/$expand", params=asked)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def codes(value_set: dict[str, Any]) -> list[str]:
    return [one["code"] for one in value_set["expansion"].get("contains", ())]


def value(parameter: dict[str, Any]) -> Any:
    return next((v for n, v in parameter.items() if n.startswith("value")), None)


def said(response: httpx.Response) -> dict[str, Any]:
    """The plain values of a Parameters resource."""
    answer = response.json()
    assert answer["resourceType"] == "Parameters", answer
    return {one["name"]: value(one) for one in answer["parameter"]}


def value_set(*include: dict[str, Any], **compose: Any) -> dict[str, Any]:
    return {
        "resourceType": "ValueSet",
        "status": "active",
        "compose": {"include": list(include), **compose},
    }


async def of(fhir: httpx.AsyncClient, *include: dict[str, Any], **compose: Any) -> list[str]:
    """The codes of a value set that is sent along."""
    response = await fhir.post("/fhir/ValueSet/$expand", json=value_set(*include, **compose))
    assert response.status_code == 200, response.text
    return codes(response.json())


class TestExpand:
    async def test_a_value_set_of_fhir(self, fhir: httpx.AsyncClient) -> None:
        found = await expanded(fhir, url=GENDER)
        assert codes(found) == ["male", "female", "other", "unknown"]
        assert found["expansion"]["total"] == 4
        male = {"system": GENDERS, "version": "4.0.1", "code": "male", "display": "Male"}
        assert found["expansion"]["contains"][0] == male
        checked = await fhir.post("/fhir/ValueSet/$validate", json=found)
        assert list(issues(checked.json())) == [("informational", None)], checked.text

    async def test_those_of_required_bindings_are_as_hl7_expanded_them(self, records: Database) -> None:
        """HL7's own expansions leave out what is abstract or deprecated."""
        async with records.session() as db:
            for url, of_system in rules().codes.items():
                rows = await db.fetch(
                    """select s.url, c.code from concept c join code_system s on s.pk = c.system
                       where s.url = any($1)
                           and (c.abstract or c.properties @> '{"status": ["deprecated"]}')""",
                    list(of_system),
                )
                left_out = {(row["url"], row["code"]) for row in rows}
                expected = {(system, code) for system, listed in of_system.items() for code in listed}
                found = await terminology.codes_of(db, EVERYBODY, url)
                assert found is not None, url
                assert set(found) - left_out == expected - left_out, url

    async def test_by_pages_and_by_words(self, fhir: httpx.AsyncClient) -> None:
        whole = codes(await expanded(fhir, url=f"{ROLES}?fhir_vs"))
        assert len(whole) == len(set(whole)) > 100
        pages = [await expanded(fhir, url=f"{ROLES}?fhir_vs", offset=n, count=40) for n in range(0, 200, 40)]
        assert [code for page in pages for code in codes(page)] == whole[:200]
        assert pages[0]["expansion"]["total"] == len(whole)
        assert codes(await expanded(fhir, url=f"{ROLES}?fhir_vs", count=0)) == []
        assert codes(await expanded(fhir, url=f"{ROLES}?fhir_vs", offset=10**6)) == []
        mothers = await expanded(fhir, url=f"{ROLES}?fhir_vs", filter=" MOTHER  in-law ")
        assert codes(mothers) == ["MTHINLAW"]
        first = await expanded(fhir, url=f"{ROLES}?fhir_vs", filter="mother")
        assert first["expansion"]["contains"][0]["display"].lower().startswith("mother")
        none = await expanded(fhir, url=GENDER, filter="%")
        assert (codes(none), none["expansion"]["total"]) == ([], 0)

    async def test_what_is_displayed_in_chinese_is_found_in_chinese(self, fhir: httpx.AsyncClient) -> None:
        found = await expanded(fhir, url=f"{TYPES}?fhir_vs", displayLanguage="zh-CN", filter="患者")
        listed = {one["code"]: one["display"] for one in found["expansion"]["contains"]}
        assert listed["Patient"] == "患者"
        plain = await expanded(fhir, url=f"{TYPES}?fhir_vs", includeDesignations="true", count=1)
        languages = {one["language"] for one in plain["expansion"]["contains"][0]["designation"]}
        assert "zh" in languages

    @pytest.mark.parametrize(
        ("asked", "status", "code", "words"),
        [
            ({}, 400, "required", "name one value set"),
            ({"url": "http://nobody/knows"}, 404, "not-found", "no value set"),
            ({"url": "http://nobody/knows?fhir_vs"}, 404, "not-found", "not loaded"),
            ({"url": f"{GENDER}|3.0"}, 404, "not-found", "3.0"),
            ({"url": "http://hl7.org/fhir/ValueSet/condition-code"}, 422, "not-found", "snomed"),
            ({"url": GENDER, "count": "-1"}, 400, "value", "whole number"),
            ({"url": GENDER, "activeOnly": "yes"}, 400, "value", "true or false"),
            ({"url": GENDER, "contextDirection": "incoming"}, 400, "not-supported", "contextDirection"),
            ({"url": GENDER, "system-version": GENDERS}, 400, "value", "SYSTEM|VERSION"),
            ({"url": GENDER, "system-version": f"{GENDERS}|9"}, 422, "not-found", "version 9"),
        ],
    )
    async def test_what_cannot_be_expanded_is_refused_in_words(
        self, fhir: httpx.AsyncClient, asked: dict[str, str], status: int, code: str, words: str
    ) -> None:
        response = await fhir.get("/fhir/ValueSet/$expand", params=asked)
        assert response.status_code == status, response.text
        [(found, _)] = issues(response.json())
        assert found == code
        assert words in response.text

    async def test_too_much_is_told_to_be_so(
        self, fhir: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, records: Database
    ) -> None:
        monkeypatch.setattr("health.fhir.operations.value_sets.CODES_MAX", 100)
        monkeypatch.setattr(terminology, "CODES_MAX", 100)
        response = await fhir.get("/fhir/ValueSet/$expand", params={"url": f"{ROLES}?fhir_vs"})
        assert response.status_code == 422
        assert list(issues(response.json())) == [("too-costly", None)]
        assert len(codes(await expanded(fhir, url=f"{ROLES}?fhir_vs", count=100))) == 100
        async with records.session() as db:
            with pytest.raises(terminology.TooCostly):
                await terminology.codes_of(db, EVERYBODY, f"{ROLES}?fhir_vs")


class TestCompose:
    """A value set that is sent along, over a code system that is stored."""

    @pytest.fixture
    async def colours(self, fhir: httpx.AsyncClient) -> str:
        made = await fhir.post("/fhir/CodeSystem", json=COLOURS)
        assert made.status_code == 201, made.text
        url: str = COLOURS["url"]
        return url

    @pytest.mark.parametrize(
        ("filter", "expected"),
        [
            (("concept", "is-a", "red"), ["red", "crimson", "rust"]),
            (("concept", "descendent-of", "red"), ["crimson", "rust"]),
            (("concept", "is-not-a", "red"), ["blue"]),
            (("concept", "generalizes", "rust"), ["red", "rust"]),
            (("concept", "in", "rust, blue"), ["rust", "blue"]),
            (("concept", "not-in", "rust,blue"), ["red", "crimson"]),
            (("code", "regex", "r.*t|blue"), ["rust", "blue"]),
            (("warm", "=", "true"), ["red"]),
            (("warm", "exists", "false"), ["crimson", "rust", "blue"]),
            (("wave", "in", "650,700"), ["red"]),
            (("wave", "not-in", "700"), ["crimson", "rust", "blue"]),
            (("parent", "=", "red"), ["crimson", "rust"]),
            (("parent", "exists", "false"), ["red", "blue"]),
            (("child", "=", "rust"), ["red"]),
            (("child", "exists", "true"), ["red"]),
            (("inactive", "=", "true"), ["rust"]),
            (("display", "=", "Blue"), ["blue"]),
        ],
    )
    async def test_filters(
        self, fhir: httpx.AsyncClient, colours: str, filter: tuple[str, str, str], expected: list[str]
    ) -> None:
        one = dict(zip(("property", "op", "value"), filter, strict=True))
        assert await of(fhir, {"system": colours, "filter": [one]}) == expected

    async def test_parts_and_what_is_left_out(self, fhir: httpx.AsyncClient, colours: str) -> None:
        whole = {"system": colours}
        assert await of(fhir, whole) == ["red", "crimson", "rust", "blue"]
        assert await of(fhir, whole, inactive=False) == ["red", "crimson", "blue"]
        assert await of(fhir, whole, exclude=[{**whole, "concept": [{"code": "red"}]}]) == [
            "crimson", "rust", "blue",
        ]  # fmt: skip
        listed = [{"code": "blue", "display": "Azure"}, {"code": "blue"}, {"code": "nothing"}]
        assert await of(fhir, {**whole, "concept": listed}, whole) == ["blue", "red", "crimson", "rust"]
        # Nobody here can say what SNOMED CT has; its value set's author does.
        assert await of(fhir, {"system": SNOMED, "concept": [{"code": "1"}]}) == ["1"]

    async def test_value_sets_in_value_sets(self, fhir: httpx.AsyncClient, colours: str) -> None:
        warm = {
            **value_set({"system": colours, "filter": [{"property": "warm", "op": "=", "value": "true"}]})
        }
        for name, said_ in (("warm", warm), ("all", value_set({"system": colours}))):
            made = await fhir.post("/fhir/ValueSet", json={**said_, "url": f"http://city.example/{name}"})
            assert made.status_code == 201, made.text
        both = ["http://city.example/all", "http://city.example/warm"]
        assert await of(fhir, {"valueSet": both}) == ["red"]
        assert await of(fhir, {"valueSet": both[:1]}) == ["red", "crimson", "rust", "blue"]
        assert await of(fhir, {"system": colours, "valueSet": both[1:]}) == ["red"]
        excluded = await of(fhir, {"system": colours}, exclude=[{"valueSet": both[1:]}])
        assert excluded == ["crimson", "rust", "blue"]

    @pytest.mark.parametrize(
        ("include", "words"),
        [
            ({"system": SNOMED}, "not loaded"),
            ({"valueSet": ["http://nobody/knows"]}, "no value set"),
            ({"system": GENDERS, "filter": [{"property": "mood", "op": "=", "value": "x"}]}, "no property"),
            ({"system": GENDERS, "filter": [{"property": "parent", "op": "regex", "value": "x"}]}, "regex"),
            ({"system": GENDERS, "filter": [{"property": "code", "op": "regex", "value": "("}]}, "regular"),
            (
                {"system": GENDERS, "filter": [{"property": "code", "op": "regex", "value": "(?P<a>x)"}]},
                "regex",
            ),
            ({"system": GENDERS, "filter": [{"property": "code", "op": "x", "value": "x"}]}, ""),
            ({"concept": [{"code": "x"}]}, ""),
            ({"system": 1}, ""),
        ],
    )
    async def test_what_cannot_be_is_refused(
        self, fhir: httpx.AsyncClient, include: dict[str, Any], words: str
    ) -> None:
        response = await fhir.post("/fhir/ValueSet/$expand", json=value_set(include))
        assert response.status_code == 422, response.text
        assert words in response.text

    async def test_a_value_set_in_itself_is_refused(self, fhir: httpx.AsyncClient) -> None:
        url = "http://city.example/round"
        await fhir.post("/fhir/ValueSet", json={**value_set({"valueSet": [url]}), "url": url})
        response = await fhir.get("/fhir/ValueSet/$expand", params={"url": url})
        assert response.status_code == 422
        assert "includes itself" in response.text

    async def test_a_new_version_is_followed(self, fhir: httpx.AsyncClient) -> None:
        made = (await fhir.put("/fhir/CodeSystem/colours", json={**COLOURS, "id": "colours"})).json()
        everything = {"url": f"{COLOURS['url']}?fhir_vs"}
        assert len(codes(await expanded(fhir, **everything))) == 4
        fewer = {**made, "version": "2", "concept": [{"code": "grey"}]}
        await fhir.put("/fhir/CodeSystem/colours", json=fewer)
        assert codes(await expanded(fhir, **everything)) == ["grey"]
        pinned = await fhir.get(
            "/fhir/CodeSystem/$lookup", params={"system": COLOURS["url"], "version": "1", "code": "red"}
        )
        assert pinned.status_code == 404

    async def test_a_search_is_the_first_to_ask(self, fhir: httpx.AsyncClient, colours: str) -> None:
        for code in ("red", "rust", "blue"):
            said_ = {"coding": [{"system": colours, "code": code}]}
            made = await fhir.post(
                "/fhir/Observation", json={"resourceType": "Observation", "status": "final", "code": said_}
            )
            assert made.status_code == 201, made.text
        found = await fhir.get("/fhir/Observation", params={"code:below": f"{colours}|red"})
        assert found.status_code == 200, found.text
        assert len(found.json()["entry"]) == 2

    async def test_a_search_by_what_is_no_regex_is_refused(
        self, fhir: httpx.AsyncClient, colours: str
    ) -> None:
        wrong = {"property": "code", "op": "regex", "value": "(?P<a>x)"}
        url = "http://city.example/wrong"
        body = {**value_set({"system": colours, "filter": [wrong]}), "url": url}
        assert (await fhir.post("/fhir/ValueSet", json=body)).status_code == 201
        response = await fhir.get("/fhir/Observation", params={"code:in": url})
        assert response.status_code == 422, response.text
        assert "no regular expression" in response.text

    async def test_what_an_extension_stands_for_is_no_code(self, fhir: httpx.AsyncClient) -> None:
        absent = {"extension": [{"url": "urn:x", "valueString": "lost"}]}
        concepts = [
            {"code": "a"},
            {"_code": absent, "concept": [{"code": "b", "designation": [{"_value": absent}]}]},
        ]
        made = await fhir.post("/fhir/CodeSystem", json={**COLOURS, "concept": concepts})
        assert made.status_code == 201, made.text
        assert await of(fhir, {"system": COLOURS["url"]}) == ["a", "b"]

    async def test_a_code_system_with_too_much_above_its_codes_is_refused(
        self, fhir: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("health.terminology.concepts.ABOVE_MAX", 1)
        assert (await fhir.post("/fhir/CodeSystem", json=COLOURS)).status_code == 201
        response = await fhir.get("/fhir/ValueSet/$expand", params={"url": f"{COLOURS['url']}?fhir_vs"})
        assert response.status_code == 422, response.text
        assert list(issues(response.json())) == [("too-costly", None)]

    async def test_another_hospitals_are_not_there(
        self, fhir: httpx.AsyncClient, colours: str, hospital: Hospital
    ) -> None:
        made = await fhir.post("/fhir/ValueSet", json=value_set({"system": colours}))
        path = f"/fhir/ValueSet/{made.json()['id']}/$expand"
        other = await hospital("other")
        assert codes((await fhir.get(path)).json()) == ["red", "crimson", "rust", "blue"]
        assert (await other.get(path)).status_code == 404
        asked = {"system": colours, "code": "red"}
        assert (await fhir.get("/fhir/CodeSystem/$lookup", params=asked)).status_code == 200
        assert (await other.get("/fhir/CodeSystem/$lookup", params=asked)).status_code == 404


class TestCodes:
    async def test_a_code_is_looked_up(self, fhir: httpx.AsyncClient) -> None:
        asked = {"system": ROLES, "code": "MTH", "displayLanguage": "en"}
        response = await fhir.get("/fhir/CodeSystem/$lookup", params=asked)
        found = said(response)
        assert found["display"] == "mother"
        properties = [
            {part["name"]: value(part) for part in one["part"]}
            for one in response.json()["parameter"]
            if one["name"] == "property"
        ]
        assert {"code": "parent", "value": "PRN", "description": "parent"} in properties
        assert "NMTH" in [one["value"] for one in properties if one["code"] == "child"]
        checked = await fhir.post("/fhir/Parameters/$validate", json=response.json())
        assert list(issues(checked.json())) == [("informational", None)], checked.text
        only = await fhir.get("/fhir/CodeSystem/$lookup", params={**asked, "property": "parent"})
        names = [one["name"] for one in only.json()["parameter"]]
        assert names == ["name", "version", "display", "property"]

    async def test_by_coding_and_in_the_type_of_its_property(self, fhir: httpx.AsyncClient) -> None:
        await fhir.post("/fhir/CodeSystem", json=COLOURS)
        coding = {"system": COLOURS["url"], "code": "red"}
        body = {"resourceType": "Parameters", "parameter": [{"name": "coding", "valueCoding": coding}]}
        response = await fhir.post("/fhir/CodeSystem/$lookup", json=body)
        assert {"name": "value", "valueInteger": 700} in [
            part for one in response.json()["parameter"] for part in one.get("part", ())
        ]
        zh = await fhir.get("/fhir/CodeSystem/$lookup", params={**coding, "displayLanguage": "zh"})
        assert said(zh)["display"] == "红色"

    @pytest.mark.parametrize(
        ("asked", "result", "words"),
        [
            ({"code": "male", "system": GENDERS}, True, None),
            ({"code": "male"}, True, None),
            ({"code": "male", "system": GENDERS, "display": " MALE "}, True, None),
            ({"code": "male", "system": GENDERS, "display": "Female"}, False, "'Male' is"),
            ({"code": "purple", "system": GENDERS}, False, "is not in"),
            ({"code": "male", "system": "http://other"}, False, "is not in"),
        ],
    )
    async def test_a_code_is_in_a_value_set(
        self, fhir: httpx.AsyncClient, asked: dict[str, str], result: bool, words: str | None
    ) -> None:
        response = await fhir.get("/fhir/ValueSet/$validate-code", params={"url": GENDER, **asked})
        found = said(response)
        assert found["result"] is result
        assert words is None or words in found["message"]
        where = {"url": asked["system"]} if "system" in asked else {"url": GENDERS}
        asked = {name: one for name, one in asked.items() if name != "system"}
        response = await fhir.get("/fhir/CodeSystem/$validate-code", params={**asked, **where})
        if where["url"] == GENDERS:
            assert said(response)["result"] is result
        else:
            assert response.status_code == 404

    async def test_any_coding_of_a_concept_is_enough(self, fhir: httpx.AsyncClient) -> None:
        concept = {"coding": [{"system": "http://other", "code": "m"}, {"system": GENDERS, "code": "male"}]}
        for name, url in (("ValueSet", GENDER), ("CodeSystem", GENDERS)):
            body = {
                "resourceType": "Parameters",
                "parameter": [
                    {"name": "url", "valueUri": url},
                    {"name": "codeableConcept", "valueCodeableConcept": concept},
                ],
            }
            assert said(await fhir.post(f"/fhir/{name}/$validate-code", json=body))["result"] is True

    @pytest.mark.parametrize(
        ("a", "b", "outcome"),
        [
            ("PRN", "MTH", "subsumes"),
            ("NMTH", "FAMMEMB", "subsumed-by"),
            ("MTH", "MTH", "equivalent"),
            ("MTH", "FTH", "not-subsumed"),
        ],
    )
    async def test_one_is_above_another(self, fhir: httpx.AsyncClient, a: str, b: str, outcome: str) -> None:
        asked = {"system": ROLES, "codeA": a, "codeB": b}
        assert said(await fhir.get("/fhir/CodeSystem/$subsumes", params=asked)) == {"outcome": outcome}

    @pytest.mark.parametrize(
        ("path", "asked", "status"),
        [
            ("CodeSystem/$lookup", {"code": "x"}, 400),
            ("CodeSystem/$lookup", {"system": ROLES}, 400),
            ("CodeSystem/$lookup", {"system": ROLES, "code": "x"}, 404),
            ("CodeSystem/$lookup", {"system": SNOMED, "code": "x"}, 404),
            ("CodeSystem/$subsumes", {"system": ROLES, "codeA": "MTH"}, 400),
            ("CodeSystem/$subsumes", {"codeA": "MTH", "codeB": "MTH"}, 400),
            ("CodeSystem/$subsumes", {"system": ROLES, "codeA": "MTH", "codeB": "x"}, 404),
            ("CodeSystem/$validate-code", {"code": "x"}, 400),
            ("ValueSet/$validate-code", {"url": GENDER}, 400),
            ("ValueSet/nobody/$validate-code", {"code": "x"}, 404),
        ],
    )
    async def test_what_cannot_be_answered_is_refused(
        self, fhir: httpx.AsyncClient, path: str, asked: dict[str, str], status: int
    ) -> None:
        response = await fhir.get(f"/fhir/{path}", params=asked)
        assert response.status_code == status, response.text
        assert response.json()["resourceType"] == "OperationOutcome"

    async def test_only_with_a_right_to_read_them(self, hospital: Hospital) -> None:
        for scopes, status in ((None, 401), ("system/Patient.rs", 403), ("system/CodeSystem.r", 200)):
            client = await hospital(scopes=scopes)
            asked = {"system": ROLES, "code": "MTH"}
            assert (await client.get("/fhir/CodeSystem/$lookup", params=asked)).status_code == status

    async def test_above_and_below_for_searches(self, records: Database) -> None:
        async with records.session() as db:
            below = await terminology.below(db, EVERYBODY, ROLES, "PRN")
            above = await terminology.above(db, EVERYBODY, ROLES, "NMTH")
            assert below is not None
            assert above is not None
            assert {"PRN", "MTH", "NMTH"} <= set(below)
            assert above[0] == "NMTH"
            assert {"MTH", "PRN", "FAMMEMB"} <= set(above)
            assert await terminology.below(db, EVERYBODY, ROLES, "x") is None
            assert await terminology.above(db, EVERYBODY, SNOMED, "x") is None
            assert await terminology.codes_of(db, EVERYBODY, "http://nobody/knows") is None


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=3)))
def test_what_is_above_is_what_the_steps_up_reach(parents: dict[str, list[str]]) -> None:
    for code in "abcdefgh":
        reached: set[str] = set()
        for _ in "abcdefgh":
            reached |= {above for one in {code, *reached} for above in parents.get(one, ())}
        assert set(ancestors(code, parents)) == reached
