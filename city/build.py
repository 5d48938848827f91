"""The city as files: what its organisations send, in the form they send it, and the truth about it."""

import csv
import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from city.gate import BUSIEST_DAY, as_sent, day_at_the_sights, moment
from city.hospital import Json
from city.registry import REGISTERS, persons
from city.roster import roster_of
from city.simulation import City
from city.social import Claim, ClaimLine, Contribution, Payment
from city.truth import Truth, rosters, stories
from city.walkins import walk_ins

SOCIAL_KINDS: dict[str, tuple[str, ...]] = {
    "contributions": Contribution._fields,
    "payments": Payment._fields,
    "claims": Claim._fields,
    "claim_lines": ClaimLine._fields,
}


def dumped(value: Any) -> str:
    """JSON on one line, Chinese as Chinese, the same on every run."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def build(city: City, out: Path) -> dict[str, Any]:
    """Writes everything under `out`, a person at a time; gives back the truth.

    fhir/<client>.ndjson and walk-ins.ndjson, oneroster/<client>.zip, social_security/<kind>.csv,
    transport/readings.ndjson,
    registry/*.ndjson (persons, guardianships, households, births, deaths, moves), roster.json, truth.json.
    """
    truth = Truth(city)
    for folder in ("fhir", "oneroster", "social_security", "transport", "registry"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        bundles = {
            alliance.client: files.enter_context(_text(out / "fhir" / f"{alliance.client}.ndjson"))
            for alliance in city.institutions.alliances
        }
        tables = {
            kind: csv.writer(files.enter_context(_text(out / "social_security" / f"{kind}.csv")))
            for kind in SOCIAL_KINDS
        }
        for kind, columns in SOCIAL_KINDS.items():
            tables[kind].writerow(columns)
        for story in stories(city):
            truth.add(story)
            bundles[city.alliance_of(story.person).client].write(dumped(story.bundle) + "\n")
            for kind in SOCIAL_KINDS:
                tables[kind].writerows(getattr(story.social, kind))
    for roster in rosters(city):
        (out / "oneroster" / f"{roster.group.client}.zip").write_bytes(roster.zip())
    _write_lines(out / "transport" / "readings.ndjson", _readings(city))
    _write_lines(out / "registry" / "persons.ndjson", persons(city))
    for name, rows in REGISTERS.items():
        _write_lines(out / "registry" / f"{name}.ndjson", rows(city))
    _write_lines(out / "fhir" / "walk-ins.ndjson", (one.bundle for one in walk_ins(city)))
    document = truth.document()
    for name, whole in (("roster", roster_of(city).as_json()), ("truth", document)):
        text = json.dumps(whole, ensure_ascii=False, indent=1) + "\n"
        (out / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
    return document


def _text(path: Path) -> IO[str]:
    return path.open("w", encoding="utf-8", newline="")


def _write_lines(path: Path, rows: Iterable[Json]) -> None:
    with _text(path) as file:
        for row in rows:
            file.write(dumped(row) + "\n")


def _readings(city: City) -> Iterable[Json]:
    day = day_at_the_sights(BUSIEST_DAY, seed=city.seed)
    for reading in day.readings:
        yield as_sent(reading, moment(day.day, reading.minute), moment(day.day, reading.minute + 1))
