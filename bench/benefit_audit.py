"""Benefit audit: an agency's and an insurer's rows over HTTP, then the rules over all of them, as shipped.

Measured at the sender's side, from the first byte to the receipt (CSV, the same again, Parquet), and from
the asking for a run to its findings. The findings are held to what was planted before anything is
reported. Beside the rules on DuckDB stand the same expressions on the PostgreSQL that keeps the rows.
"""

import asyncio
import csv
import io
import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import ibis
import psutil
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from bench._report import Size, run
from services.kit.database import role_of
from services.kit.settings import Settings
from social_security.analytics.audit import expression
from social_security.analytics.pack import load_pack
from social_security.analytics.tables import TABLES
from social_security.repository.runs import CURRENT
from tests.social_security.pushes import COLUMNS, claim, contribution, line, number, payment, uscc
from tests.support.suite import Suite, running_suite

LIMIT_ROWS_PER_S = 20_000
LIMIT_RUN_S = 60.0
PEOPLE = {"small": 3_000, "full": 30_000}
MONTHS = [f"{year}-{month:02d}" for year in (2025, 2026) for month in range(1, 13)][:22]
PLANTED_EVERY = 100
Row = dict[str, Any]


@dataclass
class Files:
    """Everything to be pushed, and what the rules have to find in it."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {kind: [] for kind in COLUMNS})
    deaths: list[tuple[int, str]] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=dict)

    def csv(self, kind: str) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS[kind], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[kind])
        return text.getvalue().encode()


def main(size: Size) -> dict[str, Any]:
    files = _files(PEOPLE[size])
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            figures = _imports(suite, files)
            _push_deaths(suite, files)
            figures |= _audit(suite, files)
            peer = asyncio.run(_on_postgresql(suite, files))
    limits = {
        "csv_rows_per_s": LIMIT_ROWS_PER_S,
        "parquet_rows_per_s": LIMIT_ROWS_PER_S,
        "run_s": LIMIT_RUN_S,
    }
    return {"figures": figures, "peer": limits | peer}


def _files(people: int) -> Files:
    """Workers, pensioners and the jobless, with an irregularity of each kind for one person in a hundred."""
    dice = random.Random(7)
    files = Files()
    for person in range(people):
        if person % 3 == 0:
            _pensioner(files, person)
        else:
            _worker(files, person)
        _illness(files, person, dice)
    forms = ("payment_after_death", "two_pensions", "unemployed_and_insured", "duplicate_charge")
    files.expected = dict.fromkeys(forms, 0)
    for person in range(0, people, PLANTED_EVERY):
        _plant(files, person)
    return files


def _pensioner(files: Files, person: int) -> None:
    for month in MONTHS:
        id = f"P{person}-{month}"
        files.rows["payments"].append(payment(id, person, period=month, paid_on=f"{month}-20"))


def _worker(files: Files, person: int) -> None:
    for month in MONTHS:
        for scheme in ("employee_pension", "employee_medical"):
            id = f"K{person}-{month}-{scheme}"
            row = contribution(id, person, scheme=scheme, period=month, declared_on=f"{month}-10")
            files.rows["contributions"].append(row | {"employer_uscc": EMPLOYERS[person % len(EMPLOYERS)]})


def _illness(files: Files, person: int, dice: random.Random) -> None:
    for visit in range(dice.randrange(6)):
        id, day = f"C{person}-{visit}", f"2026-{1 + visit:02d}-{1 + person % 28:02d}"
        files.rows["claims"].append(claim(id, person, claimed_on=day))
        for at in range(1, 1 + dice.randrange(1, 9)):
            files.rows["claim_lines"].append(line(id, at, item_code=f"I{at}", service_date=day))


def _plant(files: Files, person: int) -> None:
    pensioner, worker = person - person % 3, person - person % 3 + 1
    # Dead at the end of 2025: the months of 2026 are ten findings.
    files.deaths.append((pensioner, "2025-12-15"))
    files.expected["payment_after_death"] += sum(month > "2025-12" for month in MONTHS)
    files.rows["payments"].append(
        payment(f"R{person}", pensioner, scheme="resident_pension", period="2025-06", amount="180.00")
    )
    files.expected["two_pensions"] += 1
    files.rows["payments"].append(
        payment(f"U{person}", worker, scheme="unemployment", benefit="unemployment_benefit", period="2026-03")
    )
    files.expected["unemployed_and_insured"] += 1
    files.rows["claims"].append(claim(f"D{person}", worker))
    files.rows["claim_lines"] += [
        line(f"D{person}", 1, item_code="twice"),
        line(f"D{person}", 2, item_code="twice"),
    ]
    files.expected["duplicate_charge"] += 1


EMPLOYERS = [uscc(at) for at in range(200)]


def _imports(suite: Suite, files: Files) -> dict[str, Any]:
    """The agency sends contributions as CSV, payments as Parquet; the insurer claims and lines together."""
    with (
        suite.client("agency", "bench-agency") as agency,
        suite.client("insurer", "bench-insurer") as insurer,
    ):
        contributions = files.csv("contributions")
        csv_s = _pushed(agency, "contributions", contributions, "text/csv", len(files.rows["contributions"]))
        again_s = _pushed(agency, "contributions", contributions, "text/csv", None)
        corrected = [
            row | {"amount": "481.00"} if at % 100 == 0 else row
            for at, row in enumerate(files.rows["contributions"])
        ]
        files.rows["contributions"] = corrected
        corrected_s = _pushed(agency, "contributions", files.csv("contributions"), "text/csv", 0)
        parquet = _parquet(files.csv("payments"))
        media_type = "application/vnd.apache.parquet"
        parquet_s = _pushed(agency, "payments", parquet, media_type, len(files.rows["payments"]))
        both = len(files.rows["claims"]) + len(files.rows["claim_lines"])
        claims_s = _pushed_together(insurer, files)
    counts = {kind: len(rows) for kind, rows in files.rows.items()}
    return {
        "rows": sum(counts.values()),
        "csv_rows_per_s": counts["contributions"] / csv_s,
        "same_again_s": again_s,
        "corrected_rows_per_s": counts["contributions"] / corrected_s,
        "parquet_rows_per_s": counts["payments"] / parquet_s,
        "claims_and_lines_rows_per_s": both / claims_s,
    }


def _parquet(text: bytes) -> bytes:
    names = text.partition(b"\n")[0].decode().split(",")
    options = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, "string"))
    target = io.BytesIO()
    pq.write_table(arrow_csv.read_csv(io.BytesIO(text), convert_options=options), target)
    return target.getvalue()


def _pushed(http: httpx.Client, kind: str, body: bytes, media_type: str, inserted: int | None) -> float:
    """Seconds until the receipt, which must account for the rows; None for a push that was sent before."""
    started = time.perf_counter()
    answer = http.post(
        "/social-security/imports",
        params={"kind": kind},
        content=body,
        headers={"content-type": media_type},
        timeout=600.0,
    )
    seconds = time.perf_counter() - started
    if answer.status_code not in (200, 201):
        raise SystemExit(f"the push was answered {answer.status_code}: {answer.text[:2000]}")
    receipt = answer.json()
    right = "duplicate_of" in receipt if inserted is None else receipt["files"][0]["inserted"] == inserted
    if not right:
        raise SystemExit(f"the receipt does not account for the push: {receipt}")
    return seconds


def _pushed_together(http: httpx.Client, files: Files) -> float:
    parts = {kind: (f"{kind}.csv", files.csv(kind), "text/csv") for kind in ("claims", "claim_lines")}
    started = time.perf_counter()
    answer = http.post("/social-security/imports", files=parts, timeout=600.0)
    seconds = time.perf_counter() - started
    inserted = [file["inserted"] for file in answer.json().get("files", ())]
    if inserted != [len(files.rows["claims"]), len(files.rows["claim_lines"])]:
        raise SystemExit(f"the receipt does not account for the push: {answer.text[:2000]}")
    return seconds


def _push_deaths(suite: Suite, files: Files) -> None:
    """The hospital reports who died; social security gets to know through the exchange alone."""
    with suite.client("hospital", "bench-hospital") as http:
        for part in _parts(files.deaths, 100):
            entries = [
                {
                    "fullUrl": f"urn:uuid:00000000-0000-4000-8000-{person:012d}",
                    "resource": {
                        "resourceType": "Patient",
                        "identifier": [{"system": "urn:huimin:id:citizen-number", "value": number(person)}],
                        "deceasedDateTime": day,
                    },
                    "request": {"method": "POST", "url": "Patient"},
                }
                for person, day in part
            ]
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            answer = http.post(
                "/fhir", content=json.dumps(bundle), headers={"content-type": "application/fhir+json"}
            )
            if answer.status_code != 200:
                raise SystemExit(f"the deaths were answered {answer.status_code}: {answer.text[:2000]}")


def _parts(found: Sequence[tuple[int, str]], size: int) -> Iterator[Sequence[tuple[int, str]]]:
    for at in range(0, len(found), size):
        yield found[at : at + size]


def _audit(suite: Suite, files: Files) -> dict[str, Any]:
    """A run from its asking to its end, then another over the same data."""
    started = time.perf_counter()
    worker = psutil.Process(suite.child("worker"))
    run_, peak = _run(suite, worker)
    seconds = time.perf_counter() - started
    found = _found(suite)
    if found != files.expected:
        raise SystemExit(f"found {found}, planted {files.expected}: {json.dumps(run_)[:2000]}")
    again_started = time.perf_counter()
    again, _ = _run(suite, worker)
    again_s = time.perf_counter() - again_started
    if any(outcome["new"] or outcome["vanished"] for outcome in again["outcomes"]):
        raise SystemExit(f"the second run is not the first: {again['outcomes']}")
    rules = {f"{outcome['rule']}_s": outcome["seconds"] for outcome in run_["outcomes"]}
    return {
        "findings": sum(found.values()),
        "run_s": seconds,
        "again_s": again_s,
        **rules,
        "rules_s": sum(rules.values()),
        "analytics_peak_mb": peak / 1e6,
        "snapshot_mb": _snapshot_bytes(suite) / 1e6,
    }


def _run(suite: Suite, worker: psutil.Process) -> tuple[dict[str, Any], int]:
    """The run as it ended, and the most memory its analytics process was seen with."""
    found = suite.as_stack("POST", "social_security", "/social-security/audit-runs", {})
    peak = 0
    while found["status"] in {"queued", "running"}:
        peak = max(peak, _analytics_bytes(worker))
        time.sleep(0.1)
        found = suite.as_stack("GET", "social_security", f"/social-security/audit-runs/{found['id']}")
    if found["status"] != "finished":
        raise SystemExit(f"the run ended as {found['status']}: {found.get('problem')}")
    return found, peak


def _analytics_bytes(worker: psutil.Process) -> int:
    total = 0
    for child in worker.children(recursive=True):
        try:
            if "social_security.analytics" in child.cmdline():
                total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _snapshot_bytes(suite: Suite) -> int:
    root = suite.home.path / "social_security" / "snapshots"
    newest = max(root.iterdir(), key=lambda folder: folder.name)
    return sum(file.stat().st_size for file in newest.glob("*.parquet"))


def _found(suite: Suite) -> dict[str, int]:
    counts: dict[str, int] = {}
    after: str | None = None
    while True:
        path = "/social-security/findings?first=100&status=open" + (f"&after={after}" if after else "")
        page = suite.as_stack("GET", "social_security", path)
        for finding in page["items"]:
            counts[finding["form"]] = counts.get(finding["form"], 0) + 1
        after = page["next"]
        if after is None:
            return counts


async def _on_postgresql(suite: Suite, files: Files) -> dict[str, Any]:
    """The same expressions on the database that keeps the rows, with the same answers."""
    settings = Settings(home=suite.home.path, secret=suite.home.secret())
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=int(suite.home.state()["ports"]["postgres"]),
        database="huimin",
        user=role_of("social_security"),
        password=settings.secret_for("social_security", "postgres").hex(),
    )
    try:
        for table, sql in CURRENT.items():
            await connection.execute(f"create temporary view {table} as {sql}")
        await connection.execute("create temporary table deaths (person text, death_date date)")
        await _take_deaths(connection, suite)
        await connection.execute("analyze")
        found: dict[str, int] = {}
        seconds: dict[str, float] = {}
        for rule in load_pack().rules.values():
            started = time.perf_counter()
            for form in rule.forms:
                rows = await connection.fetch(str(ibis.to_sql(expression(rule, form), dialect="postgres")))
                found[form] = len(rows)
            seconds[f"{rule.id}_s"] = time.perf_counter() - started
    finally:
        await connection.close()
    if found != files.expected:
        raise SystemExit(f"PostgreSQL finds {found}, planted {files.expected}")
    return {**seconds, "rules_s": sum(seconds.values())}


async def _take_deaths(connection: Any, suite: Suite) -> None:
    """As the snapshot has them: nobody but the exchange can name the dead in this sector."""
    root = suite.home.path / "social_security" / "snapshots"
    newest = max(root.iterdir(), key=lambda folder: folder.name)
    deaths = pq.read_table(newest / "deaths.parquet").to_pylist()
    assert list(TABLES["deaths"]) == ["person", "death_date"]
    await connection.copy_records_to_table(
        "deaths",
        records=[(row["person"], row["death_date"]) for row in deaths],
        columns=["person", "death_date"],
    )


if __name__ == "__main__":
    run("benefit-audit", main)
