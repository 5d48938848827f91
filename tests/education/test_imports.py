"""`POST /education/imports` and what hangs on it, through the doors."""

import asyncio
from typing import Any

import pytest

from tests.education.conftest import House, NewSender, Sender
from tests.education.rosters import Roster, pupil

ZIP = {"content-type": "application/zip"}


class TestWhoMayPush:
    async def test_nobody_without_a_token(self, house: House) -> None:
        anyone = await house.client(scopes=None)
        answer = await anyone.post("/education/imports", content=b"x", headers=ZIP)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")

    async def test_nobody_with_another_right(self, house: House) -> None:
        reader = await house.client(scopes="education:records:read")
        answer = await reader.post("/education/imports", content=b"x", headers=ZIP)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")

    async def test_nobody_with_a_token_for_another_audience(self, house: House) -> None:
        token = house.services.token("health", scopes="education:imports:write")
        stranger = await house.client(token=token)
        answer = await stranger.post("/education/imports", content=b"x", headers=ZIP)
        assert answer.status_code == 401
        assert "audience" in answer.json()["detail"]


class TestRequests:
    async def test_an_unknown_parameter_is_refused_by_name(self, sender: Sender) -> None:
        answer = await sender.http.post("/education/imports?mod=atomic", content=b"x", headers=ZIP)
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")
        assert answer.json()["errors"][0]["field"] == "mod"

    async def test_an_unknown_mode_is_refused(self, sender: Sender) -> None:
        answer = await sender.push(sender.roster(), mode="maybe")
        assert answer.status_code == 422
        assert await sender.count("import_batch") == 0

    async def test_another_media_type_is_refused(self, sender: Sender) -> None:
        answer = await sender.http.post(
            "/education/imports", content=b"a,b", headers={"content-type": "text/csv"}
        )
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")

    async def test_an_empty_body_is_refused(self, sender: Sender) -> None:
        answer = await sender.http.post("/education/imports", content=b"", headers=ZIP)
        assert (answer.status_code, answer.json()["code"]) == (400, "empty_body")

    async def test_a_form_with_one_file_is_taken(self, sender: Sender) -> None:
        files = {"file": ("roster.zip", sender.roster().zip(), "application/zip")}
        answer = await sender.http.post("/education/imports", files=files)
        assert answer.status_code == 201

    async def test_a_form_with_two_files_is_refused(self, sender: Sender) -> None:
        body = sender.roster().zip()
        answer = await sender.http.post("/education/imports", files=[("a", body), ("b", body)])
        assert (answer.status_code, answer.json()["code"]) == (400, "not_one_file")


def sums(receipt: dict[str, Any]) -> None:
    for file in receipt["files"]:
        parts = ("inserted", "updated", "unchanged", "ended", "quarantined")
        assert file["rows_in"] == sum(file[part] for part in parts), file


def counts(receipt: dict[str, Any], file: str) -> tuple[int, int, int, int, int]:
    """inserted, updated, unchanged, ended, quarantined"""
    sums(receipt)
    found = next(one for one in receipt["files"] if one["file"] == file)
    return (
        found["inserted"], found["updated"], found["unchanged"], found["ended"], found["quarantined"]
    )  # fmt: skip


class TestTaking:
    async def test_a_receipt_counts_every_row_and_says_where_it_stays(self, sender: Sender) -> None:
        answer = await sender.push(sender.roster(pupils=4))
        receipt = answer.json()
        assert answer.status_code == 201
        assert (receipt["status"], receipt["errors"], receipt["faults"]) == ("accepted", 0, [])
        assert receipt["system"] == "测试学籍系统"
        assert counts(receipt, "users.csv") == (4, 0, 0, 0, 0)
        assert counts(receipt, "orgs.csv") == (2, 0, 0, 0, 0)
        assert receipt["people"] == {"matched": 0, "created": 4}
        assert receipt["episodes"] == {"opened": 4, "closed": 0, "provisional": 0}
        again = await sender.http.get(answer.headers["location"])
        assert again.json() == receipt

    async def test_the_same_zip_is_one_push(self, sender: Sender) -> None:
        body = sender.roster().zip()
        first = await sender.push(body)
        second = await sender.push(body)
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json() == {**first.json(), "sent_before": True}
        assert await sender.count("import_batch") == 1

    async def test_after_another_zip_the_first_is_a_change_back(self, sender: Sender) -> None:
        one = sender.roster(pupils=2)
        first = one.zip()
        one.rows["users"][0]["givenName"] = "改名"
        await sender.pushed(first)
        await sender.pushed(one)
        back = await sender.push(first)
        assert back.status_code == 201
        assert counts(back.json(), "users.csv") == (0, 1, 1, 0, 0)
        assert (await sender.push(first)).status_code == 200

    async def test_a_key_holds_whatever_was_sent_in_between(self, sender: Sender) -> None:
        one = sender.roster(pupils=2)
        first = one.zip()
        one.rows["users"][0]["givenName"] = "改名"
        kept = await sender.push(first, key="monday")
        await sender.pushed(one)
        late = await sender.push(first, key="monday")
        assert (late.status_code, late.json()["receipt_id"]) == (200, kept.json()["receipt_id"])
        reused = await sender.push(one, key="monday")
        assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")

    async def test_the_same_zip_at_the_same_time_is_one_push(self, sender: Sender) -> None:
        body = sender.roster().zip()
        answers = await asyncio.gather(*(sender.push(body) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 201]
        assert len({answer.json()["receipt_id"] for answer in answers}) == 1

    async def test_the_same_zip_of_another_sender_is_another_push(
        self, sender: Sender, new_sender: NewSender
    ) -> None:
        body = sender.roster().zip()
        other = await new_sender()
        assert (await sender.pushed(body))["receipt_id"] != (await other.pushed(body))["receipt_id"]

    async def test_only_what_differs_is_written(self, sender: Sender) -> None:
        roster = sender.roster(pupils=20)
        first = await sender.pushed(roster)
        roster.rows["users"][0]["givenName"] = "改名"
        pupil(roster, sender.first + 20, "s-1")
        second = await sender.pushed(roster)
        assert counts(second, "users.csv") == (1, 1, 19, 0, 0)
        assert counts(second, "orgs.csv") == (0, 0, 2, 0, 0)
        assert second["people"] == {"matched": 0, "created": 1}
        written_by = await sender.rows("account", "import_id", f"sourced_id = 'u-{sender.first + 1}'")
        assert str(written_by[0]["import_id"]) == first["receipt_id"]

    async def test_a_push_is_one_commit_one_leaf_one_event(self, sender: Sender) -> None:
        receipt = await sender.pushed(sender.roster(pupils=3))
        db = sender.house.db
        leaf = await db.fetchrow(
            "select seq, body::jsonb as body from leaf where body like $1", f"%{receipt['receipt_id']}%"
        )
        assert leaf["body"]["action"] == "education.roster.import"
        assert leaf["body"]["batch_hash"] == receipt["sha256"]
        assert leaf["body"]["subjects_count"] == 3
        assert await db.fetchval("select count(*) from leaf_member where leaf_seq = $1", leaf["seq"]) == 3
        events = await db.fetch(
            "select type, body from outbox where aggregate = $1",
            f"education/import/{receipt['receipt_id']}",
        )
        assert [event["type"] for event in events] == ["education.roster.imported"]

    async def test_national_numbers_stay_with_identity(self, sender: Sender) -> None:
        roster = sender.roster(pupils=2)
        number = roster.rows["users"][0]["userIds"].removeprefix("{citizen-number:").removesuffix("}")
        roster.rows["users"][0]["userIds"] += ",{library-card:L-77}"
        roster.rows["users"][1]["identifier"] = f"G{number}"
        await sender.pushed(roster)
        db = sender.house.db
        tables = await db.fetch("select tablename from pg_tables where schemaname = 'education'")
        for table in (row["tablename"] for row in tables):
            found = await db.fetchval(
                f"select count(*) from {table} t where t::text like '%' || $1 || '%'", number
            )
            assert found == 0, table
        kept = await sender.rows("account", "user_ids, identifier")
        assert kept[0]["user_ids"] == [{"type": "library-card", "identifier": "L-77"}]
        assert kept[1]["identifier"] is None

    async def test_what_has_no_column_of_its_own_is_kept_too(self, sender: Sender) -> None:
        roster = sender.roster(pupils=1)
        roster.rows["users"][0] |= {"preferredGivenName": "明明", "metadata.jp.homeClass": "3-1"}
        roster.rows["demographics"][0] |= {"countryOfBirthCode": "CN"}
        await sender.pushed(roster)
        assert (await sender.rows("account", "extra"))[0]["extra"] == {
            "preferredGivenName": "明明",
            "metadata.jp.homeClass": "3-1",
        }
        assert (await sender.rows("demographics", "extra"))[0]["extra"] == {"countryOfBirthCode": "CN"}

    async def test_a_big_push_is_parsed_apart_with_the_same_outcome(
        self, sender: Sender, new_sender: NewSender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = await new_sender()
        roster = sender.roster(pupils=30)
        roster.rows["users"][7]["userIds"] = "{citizen-number:110101199001011234}"
        inside = await sender.pushed(roster, "accept-valid")
        monkeypatch.setattr("education.oneroster.reading.IN_THREAD_BYTES", 0)
        apart = await other.pushed(roster, "accept-valid")
        errors = [fault for fault in apart["faults"] if fault["severity"] == "error"]
        assert errors == inside["faults"]
        assert [fault["code"] for fault in errors] == [
            "citizen_number_checksum",
            *3 * ["reference_to_refused"],
        ]
        columns = "sourced_id, given_name, grades, digest, learner_id"
        assert await other.rows("account", columns) == await sender.rows("account", columns)


class TestPeople:
    async def test_a_sourced_id_given_to_another_child_is_refused(self, sender: Sender) -> None:
        roster = sender.roster(pupils=2)
        await sender.pushed(roster)
        other = sender.roster(pupils=1, first=sender.first + 500)
        for file in ("users", "demographics"):
            taken = other.rows[file][0] | {"sourcedId": f"u-{sender.first}"}
            roster.rows[file][0] = taken
        faults = await sender.refused(roster)
        assert [(f["code"], f["file"], f["line"], f["field"]) for f in faults] == [
            ("identity_conflict", "users.csv", 2, "userIds")
        ]

    async def test_a_number_that_comes_later_stays_with_the_child(self, sender: Sender) -> None:
        roster = sender.roster(pupils=1)
        numbers = roster.rows["users"][0]["userIds"]
        roster.rows["users"][0]["userIds"] = ""
        await sender.pushed(roster)
        before = await sender.learner(f"u-{sender.first}")
        roster.rows["users"][0]["userIds"] = numbers
        receipt = await sender.pushed(roster)
        assert receipt["people"] == {"matched": 1, "created": 0}
        assert await sender.learner(f"u-{sender.first}") == before

    async def test_who_is_no_pupil_is_not_looked_up(self, sender: Sender) -> None:
        roster = sender.roster(pupils=2)
        roster.rows["roles"][0]["role"] = "parent"
        assert (await sender.pushed(roster))["people"] == {"matched": 0, "created": 1}


class TestLists:
    async def test_imports_come_newest_first_in_pages(self, sender: Sender) -> None:
        roster = sender.roster()
        sent = []
        for name in ("甲", "乙", "丙"):
            roster.rows["users"][0]["givenName"] = name
            sent.append((await sender.pushed(roster))["receipt_id"])
        first = (await sender.http.get("/education/imports?first=2")).json()
        assert [one["receipt_id"] for one in first["items"]] == sent[:0:-1]
        rest = (await sender.http.get(f"/education/imports?first=2&after={first['next']}")).json()
        assert [one["receipt_id"] for one in rest["items"]] == sent[:1]
        assert rest["next"] is None

    async def test_another_senders_receipt_is_not_there(self, sender: Sender, new_sender: NewSender) -> None:
        receipt = await sender.pushed(sender.roster())
        other = await new_sender()
        for path in ("", "/faults"):
            answer = await other.http.get(f"/education/imports/{receipt['receipt_id']}{path}")
            assert answer.status_code == 404
        assert (await other.http.get("/education/imports")).json() == {"items": [], "next": None}

    async def test_a_made_up_cursor_is_refused(self, sender: Sender) -> None:
        for path in ("imports", "organisations"):
            answer = await sender.http.get(f"/education/{path}?after=nonsense!")
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")

    async def test_organisations_come_in_pages(self, sender: Sender, new_sender: NewSender) -> None:
        await sender.pushed(sender.roster(schools=["s-1", "s-2", "s-3"]))
        first = (await sender.http.get("/education/organisations?first=3")).json()
        assert [one["sourced_id"] for one in first["items"]] == ["d-1", "s-1", "s-2"]
        rest = (await sender.http.get(f"/education/organisations?first=3&after={first['next']}")).json()
        assert [(one["sourced_id"], one["parent_sourced_id"]) for one in rest["items"]] == [("s-3", "d-1")]
        other = await new_sender()
        assert (await other.http.get("/education/organisations")).json()["items"] == []


class TestStale:
    async def test_what_is_older_than_kept_is_reported_and_not_applied(self, sender: Sender) -> None:
        roster = sender.roster()
        roster.rows["users"][0] |= {"dateLastModified": "2026-10-02T08:00:00Z", "givenName": "新"}
        await sender.pushed(roster)
        roster.rows["users"][0] |= {"dateLastModified": "2026-10-01T08:00:00.000Z", "givenName": "旧"}
        receipt = await sender.pushed(roster)
        assert counts(receipt, "users.csv") == (0, 0, 4, 0, 0)
        assert [(fault["code"], fault["severity"], fault["line"]) for fault in receipt["faults"]] == [
            ("stale", "warning", 2)
        ]
        assert (receipt["errors"], receipt["warnings"]) == (0, 1)
        assert (await sender.rows("account", "given_name"))[0]["given_name"] == "新"


def without(roster: Roster, *users: str) -> Roster:
    """The roster after these users have left."""
    for file, column in (
        ("users", "sourcedId"), ("roles", "userSourcedId"), ("enrollments", "userSourcedId"),
        ("demographics", "sourcedId"),
    ):  # fmt: skip
        roster.rows[file] = [row for row in roster.rows[file] if row[column] not in users]
    return roster


class TestVanished:
    async def test_a_few_that_are_gone_end_and_are_counted(self, sender: Sender) -> None:
        roster = sender.roster(pupils=40)
        await sender.pushed(roster)
        gone = f"u-{sender.first}"
        receipt = await sender.pushed(without(roster, gone))
        users = next(one for one in receipt["files"] if one["file"] == "users.csv")
        assert users["vanished"] == {"rows": 1, "of": 40, "ended": 1, "proposal": None}
        assert receipt["proposals"] == []
        assert await sender.count("account", "status = 'tobedeleted'") == 1
        assert receipt["episodes"] == {"opened": 0, "closed": 1, "provisional": 0}
        assert (await sender.record(gone))["episodes"][0]["exit_reason"] == "ended"

    async def test_many_wait_for_a_persons_word(self, sender: Sender) -> None:
        roster = sender.roster(pupils=4)
        await sender.pushed(roster)
        gone = f"u-{sender.first}"
        receipt = await sender.pushed(without(roster, gone))
        assert await sender.count("account", "status = 'active'") == 4
        assert {(p["file"], p["rows"], p["of_rows"], p["status"]) for p in receipt["proposals"]} == {
            (file, 1, 4, "open") for file in ("users.csv", "roles.csv", "enrollments.csv", "demographics.csv")
        }
        proposal = next(p for p in receipt["proposals"] if p["file"] == "users.csv")
        path = f"/education/imports/{receipt['receipt_id']}/proposals/{proposal['id']}/rows"
        assert (await sender.http.get(path)).json() == {"items": [gone], "next": None}
        decided = await sender.confirm(receipt)
        assert {p["status"] for p in decided["proposals"]} == {"confirmed"}
        assert {p["decided_by"] for p in decided["proposals"]} == {"教务处 李老师"}
        assert await sender.count("account", "status = 'active'") == 3
        assert (await sender.record(gone))["episodes"][0]["until"] is not None

    async def test_a_proposal_is_decided_once_and_by_its_sender(
        self, sender: Sender, new_sender: NewSender
    ) -> None:
        roster = sender.roster(pupils=4)
        await sender.pushed(roster)
        receipt = await sender.pushed(without(roster, f"u-{sender.first}"))
        path = f"/education/proposals/{receipt['proposals'][0]['id']}/decisions"
        word = {"decision": "reject", "decided_by": "李老师"}
        other = await new_sender()
        assert (await other.http.post(path, json=word)).status_code == 404
        assert (await sender.http.post(path, json={"decision": "reject"})).status_code == 422
        assert (await sender.http.post(path, json=word)).status_code == 201
        again = await sender.http.post(path, json=word)
        assert (again.status_code, again.json()["code"]) == (409, "already_decided")
        assert await sender.count("account", "status = 'active'") == 4

    async def test_a_later_push_that_mentions_them_settles_the_proposal(self, sender: Sender) -> None:
        whole = sender.roster(pupils=4)
        await sender.pushed(whole)
        receipt = await sender.pushed(without(sender.roster(pupils=4), f"u-{sender.first}"))
        whole.rows["users"][0]["givenName"] = "回来"
        await sender.pushed(whole)
        settled = (await sender.http.get(f"/education/imports/{receipt['receipt_id']}")).json()
        assert {p["status"] for p in settled["proposals"]} == {"overtaken"}

    async def test_a_slip_of_the_pen_is_no_departure(self, sender: Sender) -> None:
        roster = sender.roster(pupils=40)
        await sender.pushed(roster)
        roster.rows["users"][0]["enabledUser"] = "yes"
        receipt = await sender.pushed(roster, "accept-valid")
        users = next(one for one in receipt["files"] if one["file"] == "users.csv")
        assert (users["quarantined"], users["vanished"]) == (1, None)
        assert await sender.count("account", "status = 'active'") == 40

    async def test_a_refused_row_without_an_id_stops_quiet_endings(self, sender: Sender) -> None:
        roster = sender.roster(pupils=40)
        await sender.pushed(roster)
        roster.rows["demographics"][0]["sourcedId"] = ""
        receipt = await sender.pushed(roster, "accept-valid")
        file = next(one for one in receipt["files"] if one["file"] == "demographics.csv")
        assert (file["vanished"]["rows"], file["vanished"]["ended"]) == (1, 0)

    async def test_a_push_speaks_only_for_its_own_organisations(self, sender: Sender) -> None:
        both = sender.roster(schools=["s-1", "s-2"], pupils=5)
        await sender.pushed(both)
        one = sender.roster(schools=["s-1"], pupils=5)
        one.rows["orgs"] = [row | {"parentSourcedId": ""} for row in one.rows["orgs"][1:]]
        one.rows["courses"][0]["orgSourcedId"] = "s-1"
        receipt = await sender.pushed(one)
        assert receipt["proposals"] == []
        assert await sender.count("account", "status = 'active'") == 10

    async def test_a_missing_school_is_always_asked_about_and_takes_its_own_along(
        self, sender: Sender
    ) -> None:
        names = [f"s-{n}" for n in range(30)]
        await sender.pushed(sender.roster(schools=names, pupils=1))
        receipt = await sender.pushed(sender.roster(schools=names[:-1], pupils=1))
        assert [(p["file"], p["rows"], p["of_rows"]) for p in receipt["proposals"]] == [("orgs.csv", 1, 31)]
        await sender.confirm(receipt)
        assert await sender.count("organisation", "status <> 'active'") == 1
        assert await sender.count("role", "status <> 'active'") == 1
        assert await sender.count("class", "status <> 'active'") == 1

    async def test_who_is_sent_again_is_back(self, sender: Sender) -> None:
        whole = sender.roster(pupils=4).zip()
        gone = f"u-{sender.first}"
        await sender.pushed(whole)
        await sender.confirm(await sender.pushed(without(sender.roster(pupils=4), gone)))
        back = sender.roster(pupils=4)
        back.rows["orgs"][0]["name"] = "同一批人,另一个压缩包"
        receipt = await sender.pushed(back)
        assert counts(receipt, "users.csv") == (0, 1, 3, 0, 0)
        record = await sender.record(gone)
        assert [(e["since"], e["until"], e["primary"]) for e in record["episodes"]] == [
            ("2026-09-01", None, True)
        ]


class TestDelta:
    async def test_a_delta_changes_what_it_names_and_nothing_else(self, sender: Sender) -> None:
        await sender.pushed(sender.roster(pupils=4))
        changed, gone = f"u-{sender.first}", f"u-{sender.first + 1}"
        full = sender.roster(pupils=4)
        delta = Roster(modes={"users": "delta"})
        stamp = {"dateLastModified": "2026-11-01T00:00:00Z"}
        delta.add("users", **full.rows["users"][0], **stamp, status="active")
        delta.add("users", **full.rows["users"][1], **stamp, status="tobedeleted")
        receipt = await sender.pushed(delta)
        assert counts(receipt, "users.csv") == (0, 1, 0, 1, 0)
        found = await sender.rows("account", "sourced_id, status", f"sourced_id in ('{changed}', '{gone}')")
        assert [row["status"] for row in found] == ["active", "tobedeleted"]
        assert await sender.count("account", "status = 'active'") == 3
        assert (await sender.record(gone))["episodes"][0]["exit_reason"] == "ended"

    async def test_a_delta_row_says_its_status_and_time(self, sender: Sender) -> None:
        await sender.pushed(sender.roster())
        delta = Roster(modes={"users": "delta"})
        delta.add("users", **sender.roster().rows["users"][0])
        faults = await sender.refused(delta)
        assert [(f["code"], f["field"]) for f in faults] == [
            ("required", "status"),
            ("required", "dateLastModified"),
        ]

    async def test_a_delta_may_refer_to_what_is_kept(self, sender: Sender) -> None:
        await sender.pushed(sender.roster())
        delta = Roster(modes={"enrollments": "delta"})
        row = sender.roster().rows["enrollments"][0]
        stamp = {"status": "active", "dateLastModified": "2026-11-01T00:00:00Z"}
        delta.add("enrollments", **{**row, "sourcedId": "e-new", **stamp})
        assert counts(await sender.pushed(delta), "enrollments.csv") == (1, 0, 0, 0, 0)
