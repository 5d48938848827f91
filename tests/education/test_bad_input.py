"""What is wrong with a push is named: file, line, column, rule; and nothing of it is applied."""

import zipfile
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from typing import Any

import pytest

from tests.education.conftest import Sender
from tests.education.rosters import Roster, manifest_csv, written, zipped


@pytest.fixture(autouse=True)
async def _nothing_is_applied(sender: Sender) -> AsyncIterator[None]:
    """Holds of every test in this file: the tables are as before, the bytes are gone, the receipt stays."""
    yield
    for table in ("organisation", "account", "role", "class", "class_enrolment", "enrolment_episode"):
        assert (
            await sender.house.db.fetchval(f"select count(*) from {table} where source = $1", sender.name)
            == 0
        )
    statuses = await sender.house.db.fetch(
        """
        select b.status, p.n from import_batch b left join import_part p on p.import_id = b.id
        where source = $1
        """,
        sender.name,
    )
    assert all(tuple(row) == ("rejected", None) for row in statuses)


def files_of(roster: Roster) -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {"manifest.csv": manifest_csv(dict.fromkeys(roster.rows, "bulk"))}
    return found | {f"{name}.csv": written(f"{name}.csv", rows) for name, rows in roster.rows.items()}


async def refusal(sender: Sender, body: bytes, mode: str | None = None) -> tuple[int, dict[str, Any]]:
    answer = await sender.push(body, mode)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", problem
    stored = (await sender.http.get(answer.headers["location"])).json()
    assert (stored["status"], stored["errors"]) == ("rejected", problem["faults_total"])
    assert [fault["code"] for fault in stored["faults"]] == [fault["code"] for fault in problem["errors"]]
    return answer.status_code, problem["errors"][0]


class TestArchives:
    async def test_a_zip_that_broke_off(self, sender: Sender) -> None:
        body = sender.roster().zip()
        status, fault = await refusal(sender, body[: len(body) // 2])
        assert (status, fault["code"]) == (400, "unreadable_zip")

    async def test_a_zip_with_bytes_lost_on_the_way(self, sender: Sender) -> None:
        body = sender.roster().zip()
        status, fault = await refusal(sender, body[:100] + body[107:])
        assert (status, fault["code"]) == (400, "unreadable_zip")

    async def test_an_entry_of_a_kind_that_is_not_read(self, sender: Sender) -> None:
        body = bytearray(sender.roster().zip())
        body[body.index(b"PK\x01\x02") + 8] |= 0x40  # the first entry's flags: strong encryption
        status, fault = await refusal(sender, bytes(body))
        assert (status, fault["code"]) == (400, "unreadable_zip")

    async def test_no_zip_at_all(self, sender: Sender) -> None:
        status, fault = await refusal(sender, b"sourcedId,name\n1,a\n")
        assert (status, fault["code"]) == (400, "unreadable_zip")

    async def test_a_zip_whose_content_was_damaged(self, sender: Sender) -> None:
        body = bytearray(zipped(files_of(sender.roster()), compression=zipfile.ZIP_STORED))
        body[body.index("王".encode())] ^= 0xFF
        status, fault = await refusal(sender, bytes(body))
        assert (status, fault["code"]) in {(400, "unreadable_zip"), (422, "not_utf8")}

    @pytest.mark.parametrize(
        "name", ["../users.csv", "/etc/users.csv", "..\\users.csv", "C:users.csv", "a/../../users.csv"]
    )
    async def test_a_path_that_leads_out(self, sender: Sender, name: str) -> None:
        status, fault = await refusal(sender, zipped({**files_of(sender.roster()), name: "x"}))
        assert (status, fault["code"]) == (400, "unsafe_name")

    async def test_files_in_a_folder(self, sender: Sender) -> None:
        files = {f"roster/{name}": content for name, content in files_of(sender.roster()).items()}
        status, fault = await refusal(sender, zipped(files))
        assert (status, fault["code"]) == (400, "file_in_folder")

    async def test_a_file_of_another_name_and_the_nearest_right_one(self, sender: Sender) -> None:
        files = files_of(sender.roster())
        files["Users.csv"] = files.pop("users.csv")
        status, fault = await refusal(sender, zipped(files))
        assert (status, fault["code"], fault["file"]) == (400, "unknown_file", "Users.csv")
        assert "users.csv" in fault["hint"]

    async def test_a_file_that_is_in_it_twice(self, sender: Sender) -> None:
        out = BytesIO(zipped(files_of(sender.roster())))
        with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("users.csv", "x")
        status, fault = await refusal(sender, out.getvalue())
        assert (status, fault["code"], fault["file"]) == (400, "duplicate_file", "users.csv")

    async def test_a_bomb(self, sender: Sender) -> None:
        files = files_of(sender.roster())
        files["users.csv"] = "0" * 8 * 1024 * 1024
        status, fault = await refusal(sender, zipped(files))
        assert (status, fault["code"], fault["file"]) == (400, "compressed_too_far", "users.csv")

    async def test_more_than_any_roster_has(self, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("education.oneroster.archive.UNPACKED_LIMIT_BYTES", 1000)
        status, fault = await refusal(sender, sender.roster().zip())
        assert (status, fault["code"]) == (400, "too_much_data")

    async def test_another_compression(self, sender: Sender) -> None:
        body = zipped(files_of(sender.roster()), compression=zipfile.ZIP_LZMA)
        status, fault = await refusal(sender, body)
        assert (status, fault["code"]) == (400, "unsupported_compression")

    async def test_a_body_over_the_limit(self, sender: Sender) -> None:
        status, fault = await refusal(sender, b"0" * (33 * 1024 * 1024))
        assert (status, fault["code"]) == (400, "unreadable_zip")
        answer = await sender.push(b"0" * (64 * 1024 * 1024 + 1))
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


class TestManifests:
    async def test_a_missing_one(self, sender: Sender) -> None:
        files = files_of(sender.roster())
        del files["manifest.csv"]
        status, fault = await refusal(sender, zipped(files))
        assert (status, fault["code"], fault["file"]) == (422, "manifest_missing", "manifest.csv")

    @pytest.mark.parametrize(
        ("manifest", "code", "line"),
        [
            (("oneroster.version,1.2", "oneroster.version,1.1"), "version_not_supported", None),
            (("oneroster.version,1.2\r\n", ""), "manifest_property_missing", None),
            (("file.users,bulk", "file.users,full"), "mode_unknown", 24),
            (("file.users,bulk", "file.user,bulk"), "manifest_property_unknown", 24),
            (("file.users,bulk", "file.orgs,bulk"), "manifest_property_twice", 24),
            (("file.users,bulk", "file.users,absent"), "sent_but_absent", None),
            (("file.userProfiles,absent", "file.userProfiles,bulk"), "declared_but_missing", None),
            (("file.results,absent", "file.results,bulk"), "file_not_kept", None),
            (("propertyName,value", "name,value"), "no_header", 1),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_one_that_does_not_hold(
        self, sender: Sender, manifest: tuple[str, str], code: str, line: int | None
    ) -> None:
        files = files_of(sender.roster())
        text = str(files["manifest.csv"])
        lines = text.splitlines()
        line = line and next((n for n, row in enumerate(lines, 1) if row == manifest[0].strip()), line)
        assert manifest[0] in text
        files["manifest.csv"] = text.replace(*manifest, 1)
        status, fault = await refusal(sender, zipped(files))
        assert (status, fault["code"], fault.get("line")) == (422, code, line)

    async def test_a_file_of_marks_is_named(self, sender: Sender) -> None:
        files = files_of(sender.roster()) | {"results.csv": "sourcedId\n"}
        _, fault = await refusal(sender, zipped(files))
        assert (fault["code"], fault["file"]) == ("file_not_kept", "results.csv")
        assert "file.results" in fault["hint"]


class TestEncodings:
    @pytest.mark.parametrize(
        ("encoding", "named", "line"),
        [
            ("gb18030", "GB 18030", 2),
            ("utf-16", "UTF-16", 1),
            ("utf-16-le", "UTF-16", 1),
            ("utf-32", "UTF-32", 1),
        ],
    )
    async def test_another_is_refused_by_name_and_line(
        self, sender: Sender, encoding: str, named: str, line: int
    ) -> None:
        files = files_of(sender.roster())
        files["orgs.csv"] = str(files["orgs.csv"]).encode(encoding)
        status, fault = await refusal(sender, zipped(files))
        assert (status, fault["code"], fault["file"], fault["line"]) == (422, "not_utf8", "orgs.csv", line)
        assert named in fault["message"]

    async def test_garbage_is_no_encoding(self, sender: Sender) -> None:
        files = files_of(sender.roster())
        files["orgs.csv"] = str(files["orgs.csv"]).encode() + b"\xff\xfe\xfd,\x80\x81\n"
        _, fault = await refusal(sender, zipped(files))
        assert (fault["code"], fault["line"]) == ("not_utf8", 4)
        assert "another encoding" in fault["message"]


def header(file: str, old: str, new: str) -> Callable[[dict[str, str | bytes]], None]:
    def apply(files: dict[str, str | bytes]) -> None:
        first, _, rest = str(files[file]).partition("\n")
        files[file] = first.replace(old, new) + "\n" + rest

    return apply


class TestHeaders:
    @pytest.mark.parametrize(
        ("edit", "code", "column"),
        [
            (header("users.csv", "givenName,", "firstName,"), "unknown_column", "firstName"),
            (header("users.csv", "sourcedId,status", "sourcedId,sourcedId"), "duplicate_column", "sourcedId"),
            (header("orgs.csv", ",parentSourcedId", ""), "missing_column", "parentSourcedId"),
            (header("users.csv", "sourcedId,", "metadata.,"), "unknown_column", "metadata."),
        ],
        ids=["unknown", "twice", "missing", "metadata without a name"],
    )
    async def test_a_header_that_is_not_the_standards(
        self, sender: Sender, edit: Callable[[dict[str, str | bytes]], None], code: str, column: str
    ) -> None:
        files = files_of(sender.roster())
        edit(files)
        status, fault = await refusal(sender, zipped(files))
        assert (status, fault["code"], fault["line"], fault["field"]) == (422, code, 1, column)

    async def test_the_nearest_column_is_suggested(self, sender: Sender) -> None:
        files = files_of(sender.roster())
        header("users.csv", "familyName", "familyname")(files)
        _, fault = await refusal(sender, zipped(files))
        assert "familyName" in fault["hint"]

    async def test_rows_without_a_header(self, sender: Sender) -> None:
        files = files_of(sender.roster())
        files["orgs.csv"] = str(files["orgs.csv"]).partition("\n")[2]
        _, fault = await refusal(sender, zipped(files))
        assert (fault["code"], fault["file"], fault["line"]) == ("no_header", "orgs.csv", 1)


class TestRows:
    @pytest.mark.parametrize(
        ("file", "column", "cell", "code"),
        [
            ("orgs", "name", "", "required"),
            ("orgs", "sourcedId", "d 1", "bad_id"),
            ("orgs", "type", "academy", "unknown_word"),
            ("orgs", "status", "gone", "unknown_word"),
            ("academicSessions", "startDate", "2026-02-30", "bad_date"),
            ("academicSessions", "startDate", "01/09/2026", "bad_date"),
            ("academicSessions", "endDate", "2026-08-31", "ends_before_it_begins"),
            ("academicSessions", "schoolYear", "26/27", "bad_year"),
            ("users", "enabledUser", "yes", "bad_boolean"),
            ("users", "grades", "初一", "unknown_word"),
            ("users", "password", "hunter2", "password_sent"),
            ("users", "userIds", "citizen-number:1", "bad_user_ids"),
            ("users", "givenName", "小\x07明", "control_character"),
            ("users", "givenName", "长" * 4001, "too_long"),
            ("users", "dateLastModified", "2026-09-01", "bad_datetime"),
            ("users", "dateLastModified", "2026-09-01T08:00:00", "bad_datetime"),
            ("users", "dateLastModified", "2099-01-01T00:00:00Z", "modified_in_future"),
            ("demographics", "birthDate", "2099-01-01", "birth_date_in_future"),
            ("roles", "role", "pupil", "unknown_word"),
            ("roles", "roleType", "ext:third", "unknown_word"),
            ("users", "userIds", "{citizen-number:110101199003072315}", "citizen_number_checksum"),
            ("users", "userIds", "{citizen-number:110101199013072316}", "citizen_number_date"),
            ("users", "userIds", "{学籍号:X123}", "student_number_form"),
            ("users", "userMasterIdentifier", "110101199003072315", "citizen_number_checksum"),
            ("users", "username", "110101199003072316", "citizen_number_as_id"),
            ("users", "email", "110101199003072316@school.example", "citizen_number_as_id"),
            ("users", "metadata.cn.idcard", "110101199003072316", "citizen_number_as_id"),
        ],
    )
    async def test_a_cell_that_cannot_be_kept(
        self, sender: Sender, file: str, column: str, cell: str, code: str
    ) -> None:
        roster = sender.roster()
        roster.rows[file][0][column] = cell
        status, fault = await refusal(sender, roster.zip())
        file = f"{file}.csv"
        assert (status, fault["code"], fault["file"], fault["line"], fault["field"]) == (
            422,
            code,
            file,
            2,
            column,
        )

    async def test_a_citizen_number_as_sourced_id(self, sender: Sender) -> None:
        roster = sender.roster(pupils=1)
        number = "110101199003072316"
        roster.rows["users"][0]["sourcedId"] = f"stu-{number}"
        answer = await sender.push(roster)
        fault = answer.json()["errors"][0]
        assert (fault["code"], fault["line"], fault["field"]) == ("citizen_number_as_id", 2, "sourcedId")
        assert number not in answer.text
        assert number not in (await sender.http.get(answer.headers["location"])).text

    async def test_values_of_people_are_masked(self, sender: Sender) -> None:
        roster = sender.roster(pupils=1)
        roster.rows["users"][0]["userIds"] = "{citizen-number:110101199003072315}"
        answer = await sender.push(roster)
        assert "19900307" not in answer.text
        assert answer.json()["errors"][0]["value"].startswith("{c•••")

    async def test_lines_count_the_breaks_inside_quotes(self, sender: Sender) -> None:
        roster = sender.roster(pupils=3)
        roster.rows["users"][0]["middleName"] = "一\n二\r\n三"
        roster.rows["users"][2]["enabledUser"] = "maybe"
        _, fault = await refusal(sender, roster.zip())
        assert fault["line"] == 6

    @pytest.mark.parametrize(
        ("row", "code"),
        [
            ("s-9,,,第九小学,school,,,", "wrong_cell_count"),
            ("s-9,,,第九小学", "wrong_cell_count"),
            ('s-9,,,"第九小学,school,,', "broken_quotes"),
            ('s-9,,,"第九"小学,school,,', "broken_quotes"),
        ],
    )
    async def test_a_row_that_does_not_fit_the_header(self, sender: Sender, row: str, code: str) -> None:
        files = files_of(sender.roster())
        files["orgs.csv"] = str(files["orgs.csv"]) + row + "\r\n"
        _, fault = await refusal(sender, zipped(files))
        assert (fault["code"], fault["file"], fault["line"]) == (code, "orgs.csv", 4)

    async def test_every_fault_of_every_row_is_told(self, sender: Sender) -> None:
        roster = sender.roster(pupils=3)
        roster.rows["users"][0] |= {"enabledUser": "maybe", "grades": "三", "familyName": ""}
        roster.rows["users"][2]["userIds"] = "{citizen-number:1}"
        roster.rows["roles"][1]["orgSourcedId"] = "s-404"
        faults = await sender.refused(roster)
        assert [(f["file"], f["line"], f["field"], f["code"]) for f in faults] == [
            ("users.csv", 2, "enabledUser", "bad_boolean"),
            ("users.csv", 2, "familyName", "required"),
            ("users.csv", 2, "grades", "unknown_word"),
            ("users.csv", 4, "userIds", "citizen_number_form"),
            ("roles.csv", 3, "orgSourcedId", "reference_to_nothing"),
        ]


class TestTheWhole:
    async def test_a_reference_to_nothing_names_line_column_and_value(self, sender: Sender) -> None:
        roster = sender.roster(pupils=2)
        roster.rows["enrollments"][1]["classSourcedId"] = "k-404"
        faults = await sender.refused(roster)
        assert [(f["code"], f["file"], f["line"], f["field"], f["value"]) for f in faults] == [
            ("reference_to_nothing", "enrollments.csv", 3, "classSourcedId", "k-404")
        ]

    async def test_each_name_in_a_list_is_looked_up(self, sender: Sender) -> None:
        roster = sender.roster()
        roster.rows["classes"][0]["termSourcedIds"] = "y-2027,y-2028"
        roster.rows["users"][0]["agentSourcedIds"] = "u-nobody"
        faults = await sender.refused(roster)
        assert [(f["field"], f["value"]) for f in faults] == [
            ("termSourcedIds", "y-2028"),
            ("agentSourcedIds", "u-nobody"),
        ]

    async def test_a_reference_to_what_is_to_be_deleted(self, sender: Sender) -> None:
        roster = sender.roster(pupils=1)
        roster.rows["courses"][0]["status"] = "tobedeleted"
        faults = await sender.refused(roster)
        assert [(f["code"], f["file"]) for f in faults] == [("reference_to_ended", "classes.csv")]

    async def test_one_id_in_two_rows(self, sender: Sender) -> None:
        roster = sender.roster(pupils=1)
        roster.rows["orgs"].append({**roster.rows["orgs"][0], "name": "另一个"})
        faults = await sender.refused(roster)
        assert [(f["code"], f["line"]) for f in faults] == [
            ("duplicate_sourced_id", 2),
            ("duplicate_sourced_id", 4),
        ]
        assert "2, 4" in faults[0]["message"]

    async def test_an_organisation_above_itself(self, sender: Sender) -> None:
        roster = sender.roster(pupils=1)
        roster.rows["orgs"][0]["parentSourcedId"] = "s-1"
        faults = await sender.refused(roster)
        assert {(f["code"], f["path"]) for f in faults} == {("parent_cycle", "d-1"), ("parent_cycle", "s-1")}

    async def test_one_person_as_two_users(self, sender: Sender) -> None:
        roster = sender.roster(pupils=2)
        roster.rows["users"][1]["userIds"] = roster.rows["users"][0]["userIds"]
        roster.rows["demographics"][1]["birthDate"] = roster.rows["demographics"][0]["birthDate"]
        roster.rows["demographics"][1]["sex"] = roster.rows["demographics"][0]["sex"]
        faults = await sender.refused(roster)
        assert [(f["code"], f["line"], f["field"]) for f in faults] == [
            ("duplicate_person", 2, "userIds"),
            ("duplicate_person", 3, "userIds"),
        ]

    async def test_thousands_of_faults_are_all_kept(self, sender: Sender) -> None:
        roster = sender.roster(pupils=1100)
        for row in roster.rows["demographics"]:
            row["sex"] = "boy"
        answer = await sender.push(roster)
        problem = answer.json()
        assert (problem["faults_total"], len(problem["errors"])) == (1100, 1000)
        more = (await sender.http.get(problem["more_faults"])).json()
        assert [fault["line"] for fault in more["items"]] == list(range(1002, 1102))
        assert more["next"] is None


async def test_a_refused_push_may_be_tried_again(sender: Sender) -> None:
    roster = sender.roster()
    roster.rows["users"][0]["primaryOrgSourcedId"] = "s-404"
    first, second = (await sender.push(roster)).json(), (await sender.push(roster)).json()
    assert first["receipt_id"] != second["receipt_id"]
