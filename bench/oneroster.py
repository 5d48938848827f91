"""OneRoster: a school authority's whole roster as one zip over HTTP, on the suite as shipped.

Measured at the sender's side, from the first byte sent to the receipt: the first push (every pupil unknown to
the population register), the same zip again, and the next day's zip with one user in a hundred changed. The
receipts must account for every row before anything is reported. Where ../shared/data is there, so are the
registrations of a real university.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench._report import Size, run
from tests.education import oulad
from tests.education.rosters import Roster, school_roster
from tests.support.suite import Suite, running_suite

LIMIT_ROWS_PER_S = 5_000
LIMIT_RESEND_S = 2.0
SCHOOLS = 20
PUPILS_PER_SCHOOL = {"small": 150, "full": 4_600}
CLASSES_PER_PUPIL = 8
CHANGED_ONE_IN = 100


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            figures = _roster(suite, size)
            if oulad.FOLDER.exists():
                figures |= _university(suite)
    peer = {"rows_per_s": LIMIT_ROWS_PER_S, "resend_s": LIMIT_RESEND_S}
    return {"figures": figures, "peer": peer}


def _roster(suite: Suite, size: Size) -> dict[str, Any]:
    roster = _authority(PUPILS_PER_SCHOOL[size])
    body, rows = roster.zip(), _rows(roster)
    with suite.client("school", "bench-authority") as http:
        first, receipt = _push(http, body)
        _accounted(receipt, inserted=rows)
        again, receipt = _push(http, body)
        assert receipt["sent_before"], receipt
        for user in roster.rows["users"][::CHANGED_ONE_IN]:
            user["givenName"] = "改名"
        daily, receipt = _push(http, roster.zip())
        _accounted(receipt, updated=-(-len(roster.rows["users"]) // CHANGED_ONE_IN))
    return {
        "rows": rows,
        "zip_bytes": len(body),
        "pupils": len(roster.rows["users"]),
        "rows_per_s": rows / first,
        "first_push_s": first,
        "resend_s": again,
        "daily_rows_per_s": rows / daily,
        "daily_push_s": daily,
    }


def _authority(pupils_per_school: int) -> Roster:
    schools = [f"s-{number}" for number in range(SCHOOLS)]
    roster = school_roster(schools=schools, pupils=pupils_per_school, classes=40)
    places = roster.rows["enrollments"]
    roster.rows["enrollments"] = [
        {**place, "sourcedId": f"{place['sourcedId']}-{subject}"}
        for place in places
        for subject in range(CLASSES_PER_PUPIL)
    ]
    return roster


def _university(suite: Suite) -> dict[str, Any]:
    roster = oulad.oulad()
    rows = _rows(roster)
    with suite.client("school", "bench-university") as http:
        seconds, receipt = _push(http, roster.zip())
    _accounted(receipt, inserted=rows)
    return {"university_rows": rows, "university_rows_per_s": rows / seconds}


def _push(http: httpx.Client, body: bytes) -> tuple[float, dict[str, Any]]:
    started = time.perf_counter()
    answer = http.post(
        "/education/imports", content=body, headers={"content-type": "application/zip"}, timeout=600.0
    )
    seconds = time.perf_counter() - started
    if answer.status_code not in (200, 201):
        raise SystemExit(f"the push was answered {answer.status_code}: {answer.text[:2000]}")
    receipt: dict[str, Any] = answer.json()
    return seconds, receipt


def _rows(roster: Roster) -> int:
    return sum(len(rows) for rows in roster.rows.values())


def _accounted(receipt: dict[str, Any], *, inserted: int = 0, updated: int = 0) -> None:
    """Holds the receipt to what was sent, row for row."""
    found = {
        name: sum(file[name] for file in receipt["files"]) for name in ("inserted", "updated", "rows_in")
    }
    parts = ("inserted", "updated", "unchanged", "ended", "quarantined")
    told = sum(file[part] for file in receipt["files"] for part in parts)
    if (found["inserted"], found["updated"], told) != (inserted, updated, found["rows_in"]):
        raise SystemExit(
            f"the receipt does not account for the push: {found}, expected {inserted}, {updated}"
        )


if __name__ == "__main__":
    run("oneroster", main)
