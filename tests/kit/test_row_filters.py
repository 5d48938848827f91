"""Row filters: what PostgreSQL chooses by the generated SQL is what the filter says of each row."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kit import row_filters
from services.kit.problems import Problem
from services.kit.row_filters import Condition

TYPES = {
    "name": "string",
    "born": "date",
    "seen": "datetime",
    "months": "integer",
    "amount": "decimal",
    "active": "boolean",
}
COLUMN = {
    "string": "text",
    "date": "date",
    "datetime": "timestamptz",
    "integer": "bigint",
    "decimal": "numeric",
    "boolean": "boolean",
}
OPS = {
    "string": ["eq", "in", "ge", "le", "prefix"],
    "date": ["eq", "in", "ge", "le"],
    "datetime": ["ge", "le"],
    "integer": ["eq", "in", "ge", "le"],
    "decimal": ["eq", "in", "ge", "le"],
    "boolean": ["eq"],
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.sampled_from("ab张Z é'%_\\"), max_size=3),
    "date": st.dates(date(2025, 12, 30), date(2026, 1, 3)).map(date.isoformat),
    "datetime": st.integers(0, 5).map(lambda hour: f"2026-01-01T0{hour}:00:00+08:00"),
    "integer": st.integers(-3, 3),
    "decimal": st.sampled_from(["0", "0.10", "0.1", "-1", "12345678901234567890.5"]),
    "boolean": st.booleans(),
}


def row_of(draw: Any) -> dict[str, Any]:
    return {name: draw(st.none() | VALUES[kind]) for name, kind in TYPES.items()}


@st.composite
def cases(draw: Any) -> tuple[list[Condition], list[dict[str, Any]]]:
    conditions = []
    for _ in range(draw(st.integers(0, 3))):
        item = draw(st.sampled_from(sorted(TYPES)))
        op = draw(st.sampled_from(OPS[TYPES[item]]))
        value = VALUES[TYPES[item]]
        found = draw(st.lists(value, min_size=1, max_size=3) if op == "in" else value)
        conditions.append(Condition(item=item, op=op, value=found))
    return conditions, [row_of(draw) for _ in range(draw(st.integers(1, 6)))]


def stored(row: dict[str, Any]) -> list[Any]:
    read = {
        "date": date.fromisoformat,
        "datetime": datetime.fromisoformat,
        "decimal": Decimal,
    }
    return [
        value if value is None or kind not in read else read[kind](value)  # type: ignore[operator]
        for (name, kind), value in ((pair, row[pair[0]]) for pair in TYPES.items())
    ]


@pytest.fixture
async def connection(db: Callable[[str], Awaitable[Any]]) -> Any:
    found = await db("exchange")
    columns = ", ".join(f"{name} {COLUMN[kind]}" for name, kind in TYPES.items())
    await found.execute(f"create temporary table offered (n integer, {columns})")
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
async def test_the_database_chooses_what_the_filter_says(
    connection: Any, case: tuple[list[Condition], list[dict[str, Any]]]
) -> None:
    conditions, rows = case
    row_filters.check(conditions, TYPES)
    await connection.execute("truncate offered")
    await connection.executemany(
        "insert into offered values ($1, $2, $3, $4, $5, $6, $7)",
        [(n, *stored(row)) for n, row in enumerate(rows)],
    )
    clause, values = row_filters.sql(row_filters.parsed(row_filters.dumped(conditions)), TYPES, first=2)
    chosen = await connection.fetch(
        f"select n from offered where n >= $1 and {clause} order by n", 0, *values
    )
    said = [n for n, row in enumerate(rows) if row_filters.holds(conditions, row, TYPES)]
    assert [row["n"] for row in chosen] == said


@pytest.mark.parametrize(
    "condition",
    [
        {"item": "secret", "op": "eq", "value": "x"},
        {"item": "born", "op": "prefix", "value": "2026"},
        {"item": "born", "op": "eq", "value": "yesterday"},
        {"item": "born", "op": "eq", "value": 3},
        {"item": "months", "op": "eq", "value": "3"},
        {"item": "months", "op": "eq", "value": True},
        {"item": "months", "op": "le", "value": 2**63},
        {"item": "amount", "op": "eq", "value": "NaN"},
        {"item": "seen", "op": "ge", "value": "2026-01-01T00:00:00"},
        {"item": "active", "op": "in", "value": [True]},
        {"item": "name", "op": "eq", "value": ["a"]},
        {"item": "name", "op": "in", "value": "a"},
        {"item": "name", "op": "eq", "value": "a\0b"},
    ],
)
def test_a_condition_that_cannot_be_kept_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(Problem) as refused:
        row_filters.check([Condition(**condition)], TYPES)
    assert refused.value.code == "invalid_filter"
    assert refused.value.faults[0].field == condition["item"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '[{"item": "x"}]',
        '[{"item": "name; drop table leaf", "op": "eq", "value": "x"}]',
        '[{"item": "name", "op": "or", "value": "x"}]',
        '[{"item": "name", "op": "eq", "value": {"$ne": ""}}]',
        '[{"item": "name", "op": "in", "value": []}]',
        '[{"item": "name", "op": "eq", "value": "x", "or": []}]',
        "[" + ",".join(['{"item": "name", "op": "eq", "value": "x"}'] * 11) + "]",
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        row_filters.parsed(text)
    assert (refused.value.status, refused.value.code) == (400, "invalid_filter")


@pytest.mark.parametrize(("op", "ordered"), [("ge", True), ("le", True), ("eq", False), ("prefix", False)])
def test_texts_are_ordered_by_code_point_whatever_the_database_speaks(op: Any, ordered: bool) -> None:
    """A database of one's own may sort by a language; what is found by equality keeps its index."""
    clause, _ = row_filters.sql([Condition(item="name", op=op, value="a")], TYPES, first=1)
    assert ('collate "C"' in clause) is ordered
