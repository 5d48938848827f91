"""The parser on its own: what was written comes out, line by line, whatever stands in the cells."""

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from education.oneroster.parsing import FAULT_COLUMNS, Frame, frames
from tests.education.rosters import Roster, citizen_number, manifest_csv, school_roster, zipped

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEY = b"k" * 32

cells = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=30
).filter(lambda text: not text.isspace())


def parsed(body: bytes, key: bytes = KEY) -> tuple[dict[str, list[dict[str, str]]], list[dict[str, str]]]:
    """The rows by table and the faults, read back from COPY's form as the database would."""
    rows: dict[str, list[dict[str, str]]] = {}
    faults: list[dict[str, str]] = []
    columns: tuple[str, ...] = ()
    table = ""
    for frame in frames(body, key=key, now=NOW):
        if frame.kind == "table":
            columns, table = tuple(frame.head["columns"]), frame.head["table"]
            rows[table] = []
        elif frame.kind == "rows":
            rows[table] += _copied(frame, columns)
        elif frame.kind == "faults":
            faults += _copied(frame, FAULT_COLUMNS)
    return rows, faults


def _copied(frame: Frame, columns: tuple[str, ...]) -> list[dict[str, str]]:
    found = list(csv.reader(io.StringIO(frame.payload.decode(), newline="")))
    assert all(len(row) == len(columns) for row in found)
    return [dict(zip(columns, row, strict=True)) for row in found]


def orgs(names: list[str]) -> Roster:
    roster = Roster()
    for number, name in enumerate(names):
        roster.add("orgs", sourcedId=f"o-{number}", name=name, type="school")
    return roster


@given(st.lists(cells.filter(bool), max_size=8))
def test_any_text_comes_out_as_it_went_in_with_its_line(names: list[str]) -> None:
    rows, faults = parsed(orgs(names).zip() if names else zipped({"manifest.csv": manifest_csv({})}))
    assert faults == []
    found = rows.get("organisation", [])
    assert [row["name"] for row in found] == names
    line = 2
    for row, name in zip(found, names, strict=True):
        assert int(row["line"]) == line
        line += 1 + name.count("\n")


@given(st.binary(max_size=400))
def test_no_bytes_at_all_make_it_stumble(body: bytes) -> None:
    rows, faults = parsed(body)
    assert rows == {}
    assert [fault["code"] for fault in faults] == ["unreadable_zip"]


@given(st.binary(max_size=300), st.sampled_from(["manifest.csv", "orgs.csv", "users.csv"]))
def test_no_bytes_in_a_file_make_it_stumble(content: bytes, file: str) -> None:
    files: dict[str, Any] = {"manifest.csv": manifest_csv({"orgs": "bulk", "users": "bulk"})}
    files |= {f"{name}.csv": "x" for name in ("orgs", "users")}
    _, faults = parsed(zipped({**files, file: content}))
    assert faults


def test_order_of_columns_and_bom_make_no_difference() -> None:
    roster = school_roster(pupils=3)
    plain, _ = parsed(roster.zip())
    files: dict[str, str | bytes] = {"manifest.csv": manifest_csv(dict.fromkeys(roster.rows, "bulk"))}
    for name, rows in roster.rows.items():
        headers = sorted({column for row in rows for column in row} | set(_headers(name)), reverse=True)
        out = io.StringIO()
        writer = csv.DictWriter(out, headers, restval="")
        writer.writeheader()
        writer.writerows(rows)
        files[f"{name}.csv"] = out.getvalue().encode("utf-8-sig")
    turned, faults = parsed(zipped(files))
    assert faults == []
    assert turned == plain


def _headers(name: str) -> list[str]:
    from education.oneroster.files import BY_FILE

    return [c.name for c in BY_FILE[f"{name}.csv"].columns if not c.optional_header]


def test_blank_lines_and_debris_are_passed_over() -> None:
    files = {
        "manifest.csv": manifest_csv({"orgs": "bulk"}),
        "orgs.csv": ",".join(_headers("orgs")) + "\n\no-1,,,甲,school,,\n\n",
        "__MACOSX/._orgs.csv": "x",
        ".DS_Store": "x",
    }
    rows, faults = parsed(zipped(files))
    assert faults == []
    assert [(row["line"], row["name"]) for row in rows["organisation"]] == [("3", "甲")]


def test_cells_are_normalised_where_the_standard_leaves_room() -> None:
    roster = school_roster(pupils=1)
    roster.rows["users"][0] |= {
        "enabledUser": "TRUE",
        "grades": '"3",04',
        "dateLastModified": "2026-09-01T16:00:00+08:00",
        "status": "inactive",
    }
    roster.rows["roles"], roster.rows["demographics"], roster.rows["enrollments"] = [], [], []
    rows, faults = parsed(roster.zip())
    assert faults == []
    user = rows["account"][0]
    assert (user["enabled"], user["grades"], user["status"]) == ("true", '{"03","04"}', "tobedeleted")
    assert user["modified"] == "2026-09-01T08:00:00+00:00"


def test_national_numbers_leave_the_row_whatever_they_are_called() -> None:
    number = citizen_number("330102", NOW.date().replace(year=2014), 12)
    roster = school_roster(pupils=1)
    roster.rows["users"][0] |= {
        "userIds": f"{{身份证号:{number.lower()}}},{{student_number:G{number}}},{{card:7}}",
        "userMasterIdentifier": number,
    }
    rows, faults = parsed(roster.zip())
    assert faults == []
    user = rows["account"][0]
    assert json.loads(user["identifiers"]) == [["citizen-number", number], ["student-number", f"G{number}"]]
    assert json.loads(user["user_ids"]) == [{"type": "card", "identifier": "7"}]
    assert user["master_identifier"] == ""


def test_a_digest_tells_nothing_without_the_key() -> None:
    body = orgs(["甲"]).zip()
    (one, _), (same, _), (other, _) = parsed(body), parsed(body), parsed(body, b"another key")
    assert one == same
    assert one["organisation"][0]["digest"] != other["organisation"][0]["digest"]
