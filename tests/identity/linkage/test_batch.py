"""The model over tables: the same weights as for one pair, links that are one to one, groups that hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench._persons import write
from services.identity.linkage import Weight, load
from services.identity.linkage.batch import database, dedupe, link, prepare, rows, weigh_pairs
from services.identity.linkage.joining import grouped, one_to_one
from services.identity.linkage.scoring import weigh

PEOPLE, AGAIN, SEED = 3_000, 0.3, 5
FIELDS = ("name", "birth_date", "sex", "area", "citizen_number", "phone_hmac")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    register, again = write(tmp_path_factory.mktemp("persons"), people=PEOPLE, again=AGAIN, seed=SEED)
    return f"read_parquet('{register}')", f"read_parquet('{again}')"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with database(tmp_path) as db:
        yield db


def test_splink_weighs_a_pair_as_the_online_path_does(
    db: duckdb.DuckDBPyConnection, sets: tuple[str, str]
) -> None:
    low = load().verdicts.model_copy(update={"review": -30.0})
    model = load().for_population(PEOPLE).model_copy(update={"verdicts": low})
    said = []
    for table, source in zip(("people", "pushed"), sets, strict=True):
        prepare(db, model, source, table)
        keys = f"(select unique_id, id from {table})"
        found = rows(db, f"select unique_id, {', '.join(FIELDS)} from {keys} join {source} using (id)")
        said.append({key: model.columns_of(dict(zip(FIELDS, values, strict=True))) for key, *values in found})
    weigh_pairs(db, model, ["people", "pushed"])
    seen = set()
    for left, right, bits, verdict in rows(db, "select l, r, weight, verdict from pairs"):
        weight = weigh(model, said[0][left], said[1][right])
        assert bits == pytest.approx(weight.total, abs=1e-6)
        assert verdict == model.verdict(weight)
        seen |= levels(weight)
    assert len(seen) >= 25  # of the 29 that the model tells apart


def levels(weight: Weight) -> set[tuple[str, str]]:
    return {(part.comparison, part.level) for part in weight.parts}


def test_linking_links_each_record_at_most_once(tmp_path: Path, sets: tuple[str, str]) -> None:
    found = link(load(), *sets, tmp_path)
    pairs = read(tmp_path / "links.parquet", "id_l, id_r")
    assert len(pairs) == found.joined == len({one for one, _ in pairs}) == len({other for _, other in pairs})
    right = sum(one[1:] == other[1:] for one, other in pairs)
    assert right == len(pairs)
    assert right > 0.9 * count(sets[1])


def test_finding_doubles_leaves_nothing_of_people_behind(tmp_path: Path, sets: tuple[str, str]) -> None:
    found = dedupe(load(), f"(from {sets[0]} union all from {sets[1]})", tmp_path)
    groups: dict[int, list[str]] = {}
    for record, person in read(tmp_path / "groups.parquet", "id, person"):
        groups.setdefault(person, []).append(record)
    assert len(groups) == found.groups > 0.9 * count(sets[1])
    assert all(len({record[1:] for record in records}) == 1 for records in groups.values())
    assert len(read(tmp_path / "review.parquet", "id_l")) == found.review
    assert {path.name for path in tmp_path.iterdir()} == {"groups.parquet", "review.parquet"}


def test_a_set_without_doubles_has_none(tmp_path: Path) -> None:
    columns = ", ".join(f"null::varchar as {field}" for field in FIELDS)
    found = dedupe(load(), f"(select 'a' as id, {columns} union all select 'b', {columns})", tmp_path)
    assert (found.records, found.candidates, found.groups) == (2, 0, 0)


def count(source: str) -> int:
    [(found,)] = duckdb.sql(f"select count(*) from {source}").fetchall()
    return int(found)


def read(path: Path, columns: str) -> list[tuple[Any, ...]]:
    return duckdb.sql(f"select {columns} from read_parquet('{path}')").fetchall()


PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40)


@given(pairs=PAIRS)
def test_the_heavier_pair_goes_first(pairs: list[tuple[int, int]]) -> None:
    chosen = one_to_one(pairs)
    assert chosen[:1] == pairs[:1]
    assert len({one for one, _ in chosen}) == len({other for _, other in chosen}) == len(chosen)
    for one, other in pairs:  # nothing is left that could still be linked
        assert any(one == left or other == right for left, right in chosen)


@given(pairs=PAIRS, sure=st.dictionaries(st.integers(0, 12), st.sampled_from("ab")))
def test_a_group_holds_one_sure_identifier(pairs: list[tuple[int, int]], sure: dict[int, str]) -> None:
    people, refused = grouped(pairs, sure)
    held: dict[int, set[str]] = {}
    for record, person in people.items():
        assert people[person] == person <= record
        held.setdefault(person, set()).update({sure[record]} if record in sure else ())
    assert all(len(values) <= 1 for values in held.values())
    apart = {frozenset(pair) for pair in refused}
    assert all(people[one] == people[other] or frozenset((one, other)) in apart for one, other in pairs)
    assert all(people[one] != people[other] for one, other in refused)
