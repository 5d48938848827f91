"""`python -m city`: what it prints and what it refuses."""

import json
from pathlib import Path

import pytest

from city.__main__ import main
from city.roster import roster
from city.simulation import City
from city.truth import compute


def test_the_roster_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roster", "--people", "60", "--seed", "5"]) == 0
    assert json.loads(capsys.readouterr().out) == roster(60, 5).as_json()


def test_the_truth_is_what_the_build_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--people", "60", "--seed", "5", "--out", str(tmp_path)]) == 0
    assert "已写入" in capsys.readouterr().out
    written = json.loads((tmp_path / "truth.json").read_text())
    assert main(["truth", "--people", "60", "--seed", "5"]) == 0
    assert json.loads(capsys.readouterr().out) == written == compute(City(people=60, seed=5))


def test_a_build_has_a_file_for_each_door(tmp_path: Path) -> None:
    main(["build", "--people", "60", "--seed", "5", "--out", str(tmp_path)])
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {
        "fhir/hospital-1.ndjson",
        "fhir/hospital-2.ndjson",
        "fhir/walk-ins.ndjson",
        "oneroster/school-group-1.zip",
        "oneroster/school-group-2.zip",
        *(f"registry/{name}.ndjson" for name in ("births", "deaths", "guardianships", "households", "moves")),
        "registry/persons.ndjson",
        "roster.json",
        "social_security/claim_lines.csv",
        "social_security/claims.csv",
        "social_security/contributions.csv",
        "social_security/payments.csv",
        "transport/readings.ndjson",
        "truth.json",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["build", "--people", "10", "--out", "x"], "at least 50 people, not 10", id="too few people"
        ),
        pytest.param(
            ["replay", "--speed", "0.5", "--base-url", "http://127.0.0.1:9", "--clients", "x"],
            "--speed is at least 1",
            id="slower than life",
        ),
        pytest.param(
            ["push", "--people", "50", "--base-url", "http://127.0.0.1:9", "--clients", "/nowhere"],
            "/nowhere/population-register.json",
            id="no key files",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_unknown_kinds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["push", "--only", "weather", "--base-url", "x", "--clients", "y"])
    assert ended.value.code == 2
    assert "invalid choice: 'weather'" in capsys.readouterr().err
