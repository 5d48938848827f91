"""Delete, conditional reads and writes, HEAD, methods and forms of Binary (FHIR R4 http.html)."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from services.kit.canonical import chain
from services.kit.database import Database
from tests.health.conftest import Hospital
from tests.health.support import (
    CITIZEN_NUMBER,
    body,
    citizen_number,
    issues,
    observation,
    organization,
    patient,
    put,
    transaction,
)

MRN = "urn:mrn"
KEY = {"idempotency-key": "k"}


async def made(fhir: httpx.AsyncClient, resource: dict[str, Any]) -> str:
    """`Type/id` of a new resource."""
    response = await fhir.post(f"/fhir/{resource['resourceType']}", json=resource)
    assert response.status_code == 201, response.text
    return f"{resource['resourceType']}/{response.json()['id']}"


class TestDelete:
    async def test_what_was_deleted_is_gone_and_its_versions_stay(
        self, fhir: httpx.AsyncClient, records: Database
    ) -> None:
        who = await made(fhir, patient((MRN, "1")))
        what = await made(fhir, observation(who))
        response = await fhir.delete(f"/fhir/{what}")
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["etag"] == 'W/"2"'
        gone = await fhir.get(f"/fhir/{what}")
        assert (gone.status_code, gone.headers["etag"]) == (410, 'W/"2"')
        assert list(issues(gone.json())) == [("deleted", None)]
        assert (await fhir.get(f"/fhir/{what}/_history/2")).status_code == 410
        assert (await fhir.get(f"/fhir/{what}/_history/1")).json()["id"] == what.partition("/")[2]
        found = await fhir.get("/fhir/Observation", params={"code": "8867-4"})
        assert "entry" not in found.json()
        async with records.session() as db:
            pk = await db.fetchval("select pk from deleted")
            for table in ("resource", "tok", "ref", "dat", "str", "num", "qty", "uri", "care"):
                assert await db.fetchval(f"select count(*) from {table} where pk = $1", pk) == 0, table

    async def test_again_or_of_what_never_was_it_changes_nothing(self, fhir: httpx.AsyncClient) -> None:
        what = await made(fhir, observation())
        for path in (what, what, "Observation/never"):
            assert (await fhir.delete(f"/fhir/{path}")).status_code == 204
        history = (await fhir.get(f"/fhir/{what}/_history")).json()
        assert [entry["request"]["method"] for entry in history["entry"]] == ["DELETE", "POST"]

    async def test_an_update_brings_it_back_as_the_next_version(
        self, fhir: httpx.AsyncClient, records: Database
    ) -> None:
        assert (await fhir.put("/fhir/Observation/o", json=observation(id="o"))).status_code == 201
        await fhir.delete("/fhir/Observation/o")
        stale = await fhir.put("/fhir/Observation/o", json=observation(id="o"), headers={"if-match": 'W/"1"'})
        assert stale.status_code == 412
        back = await fhir.put("/fhir/Observation/o", json=observation(id="o", code="other"))
        assert (back.status_code, back.headers["etag"]) == (201, 'W/"3"')
        assert (await fhir.get("/fhir/Observation/o")).status_code == 200
        found = await fhir.get("/fhir/Observation", params={"code": "other"})
        assert len(found.json()["entry"]) == 1
        async with records.session() as db:
            assert await db.fetchval("select count(*) from deleted") == 0
            rows = await db.fetch(
                """select h.link, h.client, coalesce(s.body, r.body) as body from history h
                   left join superseded s using (pk, version)
                   left join resource r on r.pk = h.pk and r.version = h.version order by h.version"""
            )
        link = None
        for row in rows:
            if row["body"] is not None:
                assert row["link"] == chain(link, f"{row['client']}\n{row['body']}".encode())
            link = row["link"]

    async def test_only_the_version_that_is_named(self, fhir: httpx.AsyncClient) -> None:
        what = await made(fhir, observation())
        wrong = await fhir.delete(f"/fhir/{what}", headers={"if-match": 'W/"2"'})
        assert wrong.status_code == 412
        never = await fhir.delete("/fhir/Observation/never", headers={"if-match": 'W/"1"'})
        assert never.status_code == 412
        assert (await fhir.delete(f"/fhir/{what}", headers={"if-match": 'W/"1"'})).status_code == 204

    async def test_what_is_referred_to_stays_and_those_are_named(self, fhir: httpx.AsyncClient) -> None:
        who = await made(fhir, patient((MRN, "1")))
        by_parameter = await made(fhir, observation(who))
        extension = {"url": "urn:witness", "valueReference": {"reference": who}}
        beside = await made(fhir, observation(extension=[extension]))
        refused = await fhir.delete(f"/fhir/{who}")
        assert refused.status_code == 409
        words = refused.json()["issue"][0]["diagnostics"]
        assert by_parameter in words
        assert beside in words
        assert (await fhir.get(f"/fhir/{who}")).status_code == 200
        await fhir.delete(f"/fhir/{by_parameter}")
        assert (await fhir.delete(f"/fhir/{who}")).status_code == 409
        await fhir.delete(f"/fhir/{beside}")
        assert (await fhir.delete(f"/fhir/{who}")).status_code == 204

    async def test_others_records_are_neither_named_nor_deleted(
        self, fhir: httpx.AsyncClient, hospital: Hospital
    ) -> None:
        other = await hospital("other")
        place = await made(fhir, organization("A"))
        theirs = await made(other, patient((MRN, "9"), managingOrganization={"reference": place}))
        refused = await fhir.delete(f"/fhir/{place}")
        assert refused.status_code == 409
        assert theirs not in refused.text
        assert "not this caller's to see" in refused.text
        # What the caller may not see is as if it were not there; what it sees and does not keep, refused.
        assert (await fhir.delete(f"/fhir/{theirs}")).status_code == 204
        assert (await other.get(f"/fhir/{theirs}")).status_code == 200
        assert (await other.delete(f"/fhir/{place}")).status_code == 403

    async def test_what_others_may_not_see_is_not_told_to_be_gone(
        self, fhir: httpx.AsyncClient, hospital: Hospital
    ) -> None:
        who = await made(fhir, patient((MRN, "1")))
        await fhir.delete(f"/fhir/{who}")
        other = await hospital("other")
        assert (await other.get(f"/fhir/{who}")).status_code == 404
        assert (await other.get(f"/fhir/{who}/_history")).status_code == 404
        assert (await other.get(f"/fhir/{who}/_history/1")).status_code == 404
        taken = await other.put(f"/fhir/{who}", json=patient(id=who.partition("/")[2]))
        assert taken.status_code == 403

    async def test_by_a_search_that_means_one(self, fhir: httpx.AsyncClient) -> None:
        for value in ("1", "2"):
            await made(fhir, organization(value))
        one = {"identifier": "urn:oid:1.2.3|1"}
        assert (await fhir.delete("/fhir/Organization", params=one)).status_code == 204
        assert (await fhir.delete("/fhir/Organization", params=one)).status_code == 204
        await made(fhir, organization("2"))
        several = await fhir.delete("/fhir/Organization", params={"identifier": "urn:oid:1.2.3|2"})
        assert several.status_code == 412
        assert (await fhir.delete("/fhir/Organization")).status_code == 400
        number = {"identifier": f"{CITIZEN_NUMBER}|{citizen_number(7)}"}
        told = await fhir.delete("/fhir/Patient", params=number)
        assert (told.status_code, [code for code, _ in issues(told.json())]) == (400, ["security"])
        assert (await fhir.delete("/fhir/Organization", params={"purple": "1"})).status_code == 400

    async def test_a_death_is_no_longer_told(self, fhir: httpx.AsyncClient, records: Database) -> None:
        who = await made(fhir, patient((MRN, "1"), deceasedDateTime="2024-05-01"))
        async with records.session() as db:
            assert await db.fetchval("select count(death_date) from patient_person") == 1
            await fhir.delete(f"/fhir/{who}")
            assert await db.fetchval("select count(death_date) from patient_person") == 0

    async def test_whoever_is_referred_to_at_the_same_moment_stays(self, fhir: httpx.AsyncClient) -> None:
        for n in range(6):
            who = await made(fhir, patient((MRN, str(n))))
            created, deleted = await asyncio.gather(
                fhir.post("/fhir/Observation", json=observation(who)), fhir.delete(f"/fhir/{who}")
            )
            assert (created.status_code, deleted.status_code) in {(201, 409), (422, 204), (409, 204)}


class TestIdempotencyKey:
    async def test_a_late_repetition_of_an_update_is_no_change_back(self, fhir: httpx.AsyncClient) -> None:
        one, other = (observation(id="o", code=code) for code in ("1", "2"))
        first = await fhir.put("/fhir/Observation/o", json=one, headers=KEY)
        await fhir.put("/fhir/Observation/o", json=other)
        again = await fhir.put("/fhir/Observation/o", json=one, headers=KEY)
        assert (again.status_code, again.headers["etag"]) == (201, 'W/"1"')
        assert again.content == first.content
        assert (await fhir.get("/fhir/Observation/o")).headers["etag"] == 'W/"2"'
        for sent, headers in ((other, KEY), (one, {**KEY, "if-match": 'W/"2"'})):
            assert (await fhir.put("/fhir/Observation/o", json=sent, headers=headers)).status_code == 422

    async def test_a_patch_adds_once_even_to_what_is_gone_since(self, fhir: httpx.AsyncClient) -> None:
        await fhir.put("/fhir/Observation/o", json=observation(id="o", note=[{"text": "1"}]))
        patch = body([{"op": "add", "path": "/note/-", "value": {"text": "2"}}])
        headers = {**KEY, "content-type": "application/json-patch+json"}
        first = await fhir.patch("/fhir/Observation/o", content=patch, headers=headers)
        again = await fhir.patch("/fhir/Observation/o", content=patch, headers=headers)
        assert first.status_code == again.status_code == 200
        assert again.content == first.content
        assert len((await fhir.get("/fhir/Observation/o")).json()["note"]) == 2
        await fhir.delete("/fhir/Observation/o")
        late = await fhir.patch("/fhir/Observation/o", content=patch, headers=headers)
        assert (late.status_code, late.content) == (200, first.content)

    async def test_a_late_repetition_of_a_deletion_spares_what_came_back(
        self, fhir: httpx.AsyncClient
    ) -> None:
        await fhir.put("/fhir/Observation/o", json=observation(id="o"))
        first = await fhir.delete("/fhir/Observation/o", headers=KEY)
        await fhir.put("/fhir/Observation/o", json=observation(id="o"))
        again = await fhir.delete("/fhir/Observation/o", headers=KEY)
        assert (again.status_code, again.headers["etag"]) == (204, first.headers["etag"])
        assert (await fhir.get("/fhir/Observation/o")).status_code == 200

    async def test_what_was_refused_is_tried_again(self, fhir: httpx.AsyncClient) -> None:
        sent, headers = observation(id="o"), {**KEY, "if-match": 'W/"1"'}
        assert (await fhir.put("/fhir/Observation/o", json=sent, headers=headers)).status_code == 412
        await fhir.put("/fhir/Observation/o", json=observation(id="o", code="x"))
        assert (await fhir.put("/fhir/Observation/o", json=sent, headers=headers)).status_code == 200


class TestTransactionDeletes:
    async def test_deletes_come_first_and_what_goes_together_may(self, fhir: httpx.AsyncClient) -> None:
        who = await made(fhir, patient((MRN, "1")))
        what = await made(fhir, observation(who))
        away = [{"request": {"method": "DELETE", "url": url}} for url in (who, what)]
        new = {
            "resource": patient((MRN, "1")),
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier={MRN}|1"},
        }
        response = await fhir.post("/fhir", json=transaction(new, *away))
        assert response.status_code == 200, response.text
        statuses = [entry["response"]["status"] for entry in response.json()["entry"]]
        assert statuses == ["201 Created", "204 No Content", "204 No Content"]
        assert (await fhir.get(f"/fhir/{who}")).status_code == 410

    async def test_all_stays_where_one_is_referred_to(self, fhir: httpx.AsyncClient) -> None:
        who = await made(fhir, patient((MRN, "1")))
        what = await made(fhir, observation())
        await made(fhir, observation(who))
        away = [{"request": {"method": "DELETE", "url": url}} for url in (what, who)]
        assert (await fhir.post("/fhir", json=transaction(*away))).status_code == 409
        assert (await fhir.get(f"/fhir/{what}")).status_code == 200

    async def test_nothing_is_changed_and_deleted_at_once(self, fhir: httpx.AsyncClient) -> None:
        await fhir.put("/fhir/Observation/o", json=observation(id="o"))
        both = [put(observation(id="o")), {"request": {"method": "DELETE", "url": "Observation/o"}}]
        refused = await fhir.post("/fhir", json=transaction(*both))
        assert (refused.status_code, [code for code, _ in issues(refused.json())]) == (400, ["duplicate"])

    async def test_what_is_read_is_read_after_and_anew(self, fhir: httpx.AsyncClient) -> None:
        reads = [
            {"request": {"method": "GET", "url": "Organization?identifier=urn:oid:1.2.3|A"}},
            {"request": {"method": "GET", "url": "Organization/never"}},
            {"request": {"method": "HEAD", "url": "metadata"}},
        ]
        sent = transaction(
            *reads, {"resource": organization("A"), "request": {"method": "POST", "url": "Organization"}}
        )
        for total in (1, 2):
            response = await fhir.post("/fhir", json=sent)
            found, missing, head, posted = response.json()["entry"]
            assert len(found["resource"]["entry"]) == total
            assert missing["response"]["status"] == "404 Not Found"
            assert missing["response"]["outcome"]["issue"][0]["code"] == "not-found"
            assert head["response"] == {"status": "200 OK"}
            assert posted["response"]["status"] == "201 Created"
            await made(fhir, organization("A"))

    async def test_the_sender_may_see_what_came_of_it(self, fhir: httpx.AsyncClient) -> None:
        sent = transaction(put(observation(id="o")))
        shown = await fhir.post("/fhir", json=sent, headers={"prefer": "return=representation"})
        assert shown.json()["entry"][0]["resource"]["meta"]["versionId"] == "1"
        told = await fhir.post("/fhir", json=sent, headers={"prefer": "return=OperationOutcome"})
        assert told.json()["entry"][0]["response"]["outcome"]["resourceType"] == "OperationOutcome"
        assert "resource" not in (await fhir.post("/fhir", json=sent)).json()["entry"][0]


class TestConditions:
    async def test_a_read_of_what_is_known_is_304(self, fhir: httpx.AsyncClient) -> None:
        what = await made(fhir, observation())
        first = await fhir.get(f"/fhir/{what}")
        known = await fhir.get(f"/fhir/{what}", headers={"if-none-match": first.headers["etag"]})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", 'W/"1"')
        for header in ({"if-none-match": '"7", W/"8"'}, {"if-modified-since": "yesterday"}):
            assert (await fhir.get(f"/fhir/{what}", headers=header)).status_code == 200
        since = {"if-modified-since": first.headers["last-modified"]}
        assert (await fhir.get(f"/fhir/{what}", headers=since)).status_code == 304
        before = {"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}
        assert (await fhir.get(f"/fhir/{what}", headers=before)).status_code == 200

    async def test_head_says_what_get_would(self, fhir: httpx.AsyncClient) -> None:
        what = await made(fhir, observation())
        for path in (f"/fhir/{what}", "/fhir/Observation", "/fhir/metadata", f"/fhir/{what}/_history"):
            head = await fhir.head(path)
            assert (head.status_code, head.content) == (200, b"")
        assert (await fhir.head(f"/fhir/{what}")).headers["etag"] == 'W/"1"'
        assert (await fhir.head("/fhir/Observation/never")).status_code == 404

    async def test_an_update_by_search_creates_changes_or_is_refused(self, fhir: httpx.AsyncClient) -> None:
        one = {"identifier": "urn:oid:1.2.3|A"}
        first = await fhir.put("/fhir/Organization", params=one, json=organization("A"))
        assert first.status_code == 201
        id = first.json()["id"]
        second = await fhir.put("/fhir/Organization", params=one, json=organization("A", name="新名"))
        assert (second.status_code, second.json()["id"], second.headers["etag"]) == (200, id, 'W/"2"')
        other = await fhir.put("/fhir/Organization", params=one, json=organization("A") | {"id": "x"})
        assert other.status_code == 400
        elsewhere = {"identifier": "urn:oid:1.2.3|B"}
        chosen = await fhir.put("/fhir/Organization", params=elsewhere, json=organization("C") | {"id": "x"})
        assert (chosen.status_code, chosen.json()["id"]) == (201, "x")
        taken = await fhir.put("/fhir/Organization", params=elsewhere, json=organization("C") | {"id": "x"})
        assert taken.status_code == 409
        await made(fhir, organization("A"))
        several = await fhir.put("/fhir/Organization", params=one, json=organization("A"))
        assert several.status_code == 412
        assert (await fhir.put("/fhir/Organization", json=organization("A"))).status_code == 400

    async def test_if_match_is_held_against_what_is_there(self, fhir: httpx.AsyncClient) -> None:
        anything = {"if-match": "*"}
        new = await fhir.put("/fhir/Observation/o", json=observation(id="o"), headers=anything)
        assert new.status_code == 412
        await fhir.put("/fhir/Observation/o", json=observation(id="o"))
        there = await fhir.put("/fhir/Observation/o", json=observation(id="o", code="x"), headers=anything)
        assert there.status_code == 200
        unread = await fhir.put(
            "/fhir/Observation/o", json=observation(id="o"), headers={"if-none-match": "*"}
        )
        assert unread.status_code == 400

    async def test_a_wrong_method_is_told_the_right_ones(self, fhir: httpx.AsyncClient) -> None:
        response = await fhir.request("PROPFIND", "/fhir/Observation")
        assert response.status_code == 405
        assert response.headers["allow"] == "DELETE, GET, HEAD, PATCH, POST, PUT"
        assert [code for code, _ in issues(response.json())] == ["not-supported"]
        assert (await fhir.post("/fhir/Observation/o")).headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"

    async def test_references_are_checked_for_everybody_with_a_token(self, fhir: httpx.AsyncClient) -> None:
        dangling = observation("Patient/nowhere")
        response = await fhir.post("/fhir/Observation", json=dangling, headers={"x-references": "unchecked"})
        assert response.status_code == 403


class TestBinary:
    PIXEL = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )

    async def test_content_goes_in_and_out_in_its_own_form(self, fhir: httpx.AsyncClient) -> None:
        made = await fhir.post("/fhir/Binary", content=self.PIXEL, headers={"content-type": "image/png"})
        assert made.status_code == 201, made.text
        path = f"/fhir/Binary/{made.json()['id']}"
        for accept in ("image/png", "image/*", "*/*"):
            raw = await fhir.get(path, headers={"accept": accept})
            assert (raw.content, raw.headers["content-type"]) == (self.PIXEL, "image/png")
            assert raw.headers["content-security-policy"].startswith("sandbox")
        resource = (await fhir.get(path, headers={"accept": "application/fhir+json"})).json()
        assert (resource["contentType"], base64.b64decode(resource["data"])) == ("image/png", self.PIXEL)
        assert (await fhir.get(path, params={"_format": "json"})).json() == resource
        assert (await fhir.get(path, headers={"accept": "application/pdf"})).status_code == 406

    async def test_an_update_keeps_the_id_and_who_may_see_it(self, fhir: httpx.AsyncClient) -> None:
        who = await made(fhir, patient((MRN, "1")))
        headers = {"content-type": "text/plain; charset=utf-8", "x-security-context": who}
        made_ = await fhir.put("/fhir/Binary/b", content="你好".encode(), headers=headers)
        assert made_.status_code == 201, made_.text
        raw = await fhir.get("/fhir/Binary/b", headers={"accept": "text/plain"})
        assert (raw.text, raw.headers["x-security-context"]) == ("你好", who)


async def test_what_a_server_can_do_it_says(fhir: httpx.AsyncClient) -> None:
    said = (await fhir.get("/fhir/metadata")).json()
    rest = said["rest"][0]
    assert {one["code"] for one in rest["interaction"]} >= {"batch", "transaction", "history-system"}
    assert said["patchFormat"] == ["application/fhir+json", "application/json-patch+json"]
    resource = rest["resource"][0]
    assert {one["code"] for one in resource["interaction"]} >= {
        *("read", "vread", "update", "patch", "delete"),
        *("history-instance", "history-type", "create", "search-type"),
    }
    conditional = {name: value for name, value in resource.items() if name.startswith("conditional")}
    assert conditional == {
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
    }


class TestBadInput:
    async def test_a_name_in_chinese_is_kept_as_it_is_written(self, fhir: httpx.AsyncClient) -> None:
        name = {
            "text": "欧阳\u3000小明",
            "family": "欧阳",
            "given": ["小明", None, "阿\u00a0明"],
            "_given": [None, {"extension": [{"url": "urn:x", "valueString": "无"}]}, None],
        }
        response = await fhir.post("/fhir/Patient", json=patient(name=[name]))
        assert response.status_code == 201, response.text
        assert (await fhir.get(response.headers["location"])).json()["name"] == [name]

    async def test_numbers_come_back_as_they_were_written(self, fhir: httpx.AsyncClient) -> None:
        for number in ("72.50", "5.000", "1e-7", "1.00E+2", "0.1000000000000000055", "-0.0", "1e30"):
            value = b'{"value": %s}' % number.encode()
            sent = body(observation(valueQuantity={})).replace(
                b'"valueQuantity": {}', b'"valueQuantity":' + value
            )
            response = await fhir.post("/fhir/Observation", content=sent)
            assert response.status_code == 201, response.text
            assert f'"value":{number}' in (await fhir.get(response.headers["location"])).text

    @pytest.mark.parametrize(
        "entities",
        ["<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>", "<!DOCTYPE l SYSTEM 'file:///etc/passwd'>"],
    )
    async def test_a_narrative_declares_no_entities(self, fhir: httpx.AsyncClient, entities: str) -> None:
        div = f"{entities}<div xmlns='http://www.w3.org/1999/xhtml'>&b;</div>"
        narrative = {"status": "generated", "div": div}
        response = await fhir.post("/fhir/Patient", json=patient(text=narrative))
        assert response.status_code == 400
        assert all(where == "Patient.text.div" for _, where in issues(response.json()))

    async def test_what_is_nested_deeply_is_refused(self, fhir: httpx.AsyncClient) -> None:
        deep = '{"resourceType":"Basic","code":{"text":"x"},"extension":' + '[{"extension":' * 4000
        response = await fhir.post("/fhir/Basic", content=(deep + "[]" + "}]" * 4000 + "}").encode())
        assert (response.status_code, [code for code, _ in issues(response.json())]) == (400, ["too-long"])

    async def test_a_statement_that_is_too_slow_is_told_to_come_again(
        self, fhir: httpx.AsyncClient, records: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        what = await made(fhir, observation())
        session = records.session

        @asynccontextmanager
        async def hurried() -> AsyncIterator[Any]:
            async with session() as db:
                await db.execute("set statement_timeout = 200")
                yield db

        monkeypatch.setattr(records, "session", hurried)
        async with records.transaction() as tx:
            await tx.execute("lock table resource in access exclusive mode")
            responses = [await fhir.get(path) for path in (f"/fhir/{what}", "/fhir/Observation?code=x")]
        for response in responses:
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) > 0
            assert {code for code, _ in issues(response.json())} <= {"transient", "too-costly"}


@pytest.mark.long
async def test_ten_thousand_entries_are_one_transaction(fhir: httpx.AsyncClient) -> None:
    entries = [{"resource": observation(), "request": {"method": "POST", "url": "Observation"}}] * 10_000
    response = await fhir.post("/fhir", json=transaction(*entries), timeout=120)
    assert response.status_code == 200
    assert {entry["response"]["status"] for entry in json.loads(response.content)["entry"]} == {"201 Created"}
