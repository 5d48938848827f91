"""The city stands outside: it knows the suite by its doors alone, and its oracle knows nothing at all."""

import ast
import sys
from pathlib import Path

import pytest

import city

FOLDER = Path(city.__file__).parent
ALLOWED = {"city", "httpx", "joserfc"} | sys.stdlib_module_names


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_module_needs_an_http_client_and_nothing_of_the_suite(path: Path) -> None:
    assert {name.split(".")[0] for name in imported(path)} <= ALLOWED


def test_the_oracle_knows_neither_rules_nor_plants() -> None:
    assert not [name for name in imported(FOLDER / "oracle.py") if name.split(".")[0] == "city"]


@pytest.mark.parametrize("name", ["deeds", "plants", "social"])
def test_those_who_plant_do_not_ask_the_oracle(name: str) -> None:
    assert "city.oracle" not in imported(FOLDER / f"{name}.py")


def test_no_module_reads_the_clock_but_those_that_go_online() -> None:
    """The simulated today is a parameter; only tokens and replays are of the present."""
    readers = {
        path.stem
        for path in FOLDER.glob("*.py")
        if any(
            call in path.read_text(encoding="utf-8")
            for call in ("datetime.now(", "date.today(", "time.time(")
        )
    }
    assert readers == {"doors", "replay"}
