"""Same seed, same city, to the byte: on any Python, in any process, on any day."""

import hashlib
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from city.build import build
from city.dice import Dice, Weighted
from city.simulation import City
from services.stack.home import ROOT

# What 120 people of seed 7 come to. It changes with every change of the city, never with Python's version.
SMALL_CITY = "27d10afb2e082f1785a7e717d54209b2ab5d7bdde4c553884209602ce044db48"


def digest_of(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def digest(folder: Path, **city: object) -> str:
    build(City(**{"people": 120, "seed": 7, **city}), folder)  # type: ignore[arg-type]
    return digest_of(folder)


def test_a_small_city_is_the_one_it_has_always_been(tmp_path: Path) -> None:
    assert digest(tmp_path) == SMALL_CITY


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_neither_hash_order_nor_the_process_matters(tmp_path: Path, hash_seed: str) -> None:
    command = [
        sys.executable,
        "-m",
        "city",
        "build",
        "--people",
        "120",
        "--seed",
        "7",
        "--out",
        str(tmp_path),
    ]
    environment = {"PYTHONHASHSEED": hash_seed, "TZ": "America/New_York", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert digest_of(tmp_path) == SMALL_CITY


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"seed": 8}, id="another seed"),
        pytest.param({"people": 121}, id="one more person"),
        pytest.param({"today": date(2026, 9, 30)}, id="another day as today"),
    ],
)
def test_another_city_is_another(tmp_path: Path, other: dict[str, object]) -> None:
    assert digest(tmp_path, **other) != SMALL_CITY


def test_a_story_does_not_depend_on_those_told_before() -> None:
    city = City(people=120, seed=7)
    late = city.people[100]
    first = city.bundle(late), city.social_records(late)
    for person in city.people:
        city.bundle(person)
        city.social_records(person)
    assert (city.bundle(late), city.social_records(late)) == first


def test_the_stream_of_chance_is_fixed() -> None:
    dice = Dice("a", 1)
    assert [dice.between(1, 6) for _ in range(12)] == [6, 5, 2, 4, 2, 5, 2, 2, 3, 1, 5, 4]
    assert [Dice("a", 2).below(10**6), Dice("a1").below(10**6)] == [465365, 218745]


def test_draws_follow_their_weights() -> None:
    dice, coins = Dice("weights"), Weighted([("heads", 3.0), ("tails", 1.0)])
    heads = sum(dice.draw(coins) == "heads" for _ in range(4_000))
    assert 2_900 < heads < 3_100


def test_the_bell_has_its_mean_and_keeps_its_bounds() -> None:
    dice = Dice("bell")
    values = [dice.bell(100, 10, 75, 125) for _ in range(4_000)]
    assert 99 < sum(values) / 4_000 < 101
    assert min(values) >= 75
    assert max(values) <= 125
    assert 0.63 < sum(90 < value < 110 for value in values) / 4_000 < 0.73


def test_a_city_too_small_to_be_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 50 people, not 49"):
        City(people=49)
