"""Lists of codes that are loaded for everybody: ICD-10 and the national ones, as CSV."""

import httpx
import pytest

from tests.health.conftest import Hospital
from tests.health.support import issues
from tests.health.test_terminology import codes, expanded, said, value
from tests.support.running import RunningServices

ICD = """编码,名称,英文名称,附加码
A00-A09,肠道传染病,Intestinal infectious diseases,
A00,霍乱,Cholera,
A00.0,霍乱，由于 O1 群霍乱弧菌所致,"Cholera due to Vibrio cholerae 01, biovar cholerae",
A00.000x001,古典生物型霍乱,,B95
A01,伤寒和副伤寒,Typhoid and paratyphoid fevers,
A00,又一个霍乱,,
,没有编码,,
B00,,,
B01,水痘
"""


class TestLists:
    @pytest.fixture
    async def operator(self, house: RunningServices) -> httpx.AsyncClient:
        return await house.client(
            "health", headers={"content-type": "text/csv"}, scopes="health:terminology:write"
        )

    async def load(self, operator: httpx.AsyncClient, content: bytes, **asked: str) -> httpx.Response:
        return await operator.post("/health/code-lists", content=content, params=asked)

    @pytest.mark.parametrize(
        ("encoding", "named"),
        [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("gb18030", "gb18030")],
    )
    async def test_a_list_is_loaded_line_by_line(
        self, operator: httpx.AsyncClient, fhir: httpx.AsyncClient, encoding: str, named: str
    ) -> None:
        url = f"http://city.example/icd-10-{encoding}"
        asked = {"system": url, "hierarchy": "prefix", "title": "疾病分类"}
        response = await self.load(operator, ICD.encode(encoding), **asked)
        assert response.status_code == 201, response.text
        receipt = response.json()
        assert (receipt["taken"], receipt["refused"], receipt["encoding"]) == (5, 4, named)
        assert [(one["line"], one["field"]) for one in receipt["faults"]] == [
            (7, "code"), (8, "code"), (9, "display"), (10, ""),
        ]  # fmt: skip
        again = await self.load(operator, ICD.encode(encoding), **asked)
        assert (again.status_code, again.json()) == (200, receipt)

        whole = await expanded(fhir, url=f"{url}?fhir_vs", displayLanguage="en")
        assert [one["display"] for one in whole["expansion"]["contains"]][:2] == [
            "Intestinal infectious diseases", "Cholera",
        ]  # fmt: skip
        cholera = await expanded(fhir, url=f"{url}?fhir_vs=isa/A00", filter="霍乱")
        assert codes(cholera) == ["A00", "A00.0", "A00.000x001"]
        found = await fhir.get("/fhir/CodeSystem/$lookup", params={"system": url, "code": "A00.000x001"})
        assert said(found)["name"] == "疾病分类"
        properties = {
            value(one["part"][0]): value(one["part"][1])
            for one in found.json()["parameter"]
            if one["name"] == "property"
        }
        assert properties == {"parent": "A00.0", "附加码": "B95"}
        asked = {"system": url, "codeA": "A00-A09", "codeB": "A00.000x001"}
        assert said(await fhir.get("/fhir/CodeSystem/$subsumes", params=asked)) == {"outcome": "subsumes"}

    async def test_versions_stay_as_they_were(
        self, operator: httpx.AsyncClient, fhir: httpx.AsyncClient
    ) -> None:
        url = "http://city.example/drugs"
        first, second = "code,display\nA,甲\n", "code,display\nA,甲类\nB,乙\n"
        assert (await self.load(operator, first.encode(), system=url, version="1")).status_code == 201
        other = await self.load(operator, second.encode(), system=url, version="1")
        assert (other.status_code, other.json()["code"]) == (422, "version_taken")
        assert (await self.load(operator, second.encode(), system=url, version="2")).status_code == 201
        for version, display in (("1", "甲"), ("2", "甲类"), (None, "甲类")):
            asked = {"system": url, "code": "A", **({"version": version} if version else {})}
            found = said(await fhir.get("/fhir/CodeSystem/$lookup", params=asked))
            assert (found["display"], found["version"]) == (display, version or "2")
        pinned = await expanded(fhir, **{"url": f"{url}?fhir_vs", "system-version": f"{url}|1"})
        assert codes(pinned) == ["A"]

    async def test_above_by_a_column(self, operator: httpx.AsyncClient, fhir: httpx.AsyncClient) -> None:
        url = "http://city.example/departments"
        lines = ["代码,名称,上级代码,状态", "1,内科,,有效", "2,心内科,1,停用", "3,孤儿,9,", "4,孤儿之下,3,"]
        content = "\n".join([*lines, "5,圈,6,", "6,圈,5,"])
        response = await self.load(operator, content.encode(), system=url, hierarchy="parent")
        receipt = response.json()
        assert (receipt["taken"], [one["line"] for one in receipt["faults"]]) == (2, [4, 5, 6, 7])
        assert codes(await expanded(fhir, url=f"{url}?fhir_vs=isa/1")) == ["1", "2"]
        assert codes(await expanded(fhir, url=f"{url}?fhir_vs", activeOnly="true")) == ["1"]

    async def test_no_deeper_than_anybody_looks(self, operator: httpx.AsyncClient) -> None:
        lines = ["code,display,parent", *(f"{n},x,{n - 1 or ''}" for n in range(1, 104))]
        url = "http://city.example/deep"
        receipt = (
            await self.load(operator, "\n".join(lines).encode(), system=url, hierarchy="parent")
        ).json()
        assert receipt["taken"] == 101
        assert [(one["line"], one["message"]) for one in receipt["faults"]] == [
            (103, "101 stands 100 levels deep already"),
            (104, "102 is not in the list, or was refused"),
        ]

    @pytest.mark.parametrize(
        ("content", "status", "words"),
        [
            (b"", 422, "first line"),
            (b"name\nx\n", 422, "first line"),
            (b"code,display,code\n", 422, "two columns"),
            (b"code,display\n", 422, "nothing"),
            (b'code,display\nA,"x', 400, "CSV"),
            ("code,display\nA,甲".encode("utf-16"), 400, "UTF-8 or GB 18030"),
            (b"code,display\nA,\xff\xff\n", 400, "UTF-8 or GB 18030"),
        ],
    )
    async def test_what_is_no_list_is_refused(
        self, operator: httpx.AsyncClient, content: bytes, status: int, words: str
    ) -> None:
        response = await self.load(operator, content, system="http://city.example/none")
        assert response.status_code == status, response.text
        assert words in response.text

    async def test_only_by_an_operator(self, hospital: Hospital, operator: httpx.AsyncClient) -> None:
        client = await hospital()
        headers = {"content-type": "text/csv"}
        asked = {"system": "http://city.example/none"}
        response = await client.post("/health/code-lists", content=b"x", params=asked, headers=headers)
        assert response.status_code == 403
        response = await operator.post(
            "/health/code-lists", content=b"x", params=asked, headers={"content-type": "application/json"}
        )
        assert response.status_code == 415

    async def test_a_long_list(self, operator: httpx.AsyncClient, fhir: httpx.AsyncClient) -> None:
        url = "http://city.example/large"
        lines = ["code,display"]
        for n in range(101):
            lines.append(f"{n:03d},类目{n}")
            lines += [f"{n:03d}.{k:02d},细目{n}之{k}" for k in range(99)]
        response = await self.load(operator, "\n".join(lines).encode(), system=url, hierarchy="prefix")
        assert response.json()["taken"] == 10_100
        found = await expanded(fhir, url=f"{url}?fhir_vs", filter="细目77之", count=20)
        assert found["expansion"]["total"] == 99
        assert len(codes(await expanded(fhir, url=f"{url}?fhir_vs=isa/050"))) == 100
        refused = await fhir.get("/fhir/ValueSet/$expand", params={"url": f"{url}?fhir_vs"})
        assert list(issues(refused.json())) == [("too-costly", None)]
