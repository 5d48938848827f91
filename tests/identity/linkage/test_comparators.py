"""Both forms of a question answer alike: Python for one pair, SQL for a million."""

from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.linkage.comparators import compiled

COLUMNS = ("a", "b")
TEXT = st.none() | st.text("abcdef0123", min_size=1, max_size=10)
NAMES = st.none() | st.text("张张伟玮·", min_size=1, max_size=4)
QUESTIONS: list[dict[str, Any]] = [
    {"equal": "a"},
    {"crossed": ["a", "b"]},
    {"similar": ["a", 0.8]},
    {"edits": ["a", 1]},
    {"edits": ["a", 2]},
    {"starts": "a"},
    {"any": [{"equal": "a"}, {"all": [{"equal": "b"}, {"starts": "a"}]}]},
]


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
@given(
    left=st.fixed_dictionaries({"a": TEXT | NAMES, "b": TEXT}),
    right=st.fixed_dictionaries({"a": TEXT | NAMES, "b": TEXT}),
)
def test_python_and_sql_agree(
    question: dict[str, Any], left: dict[str, str | None], right: dict[str, str | None]
) -> None:
    test, sql = compiled(question, COLUMNS)
    assert test(left, right) == test(right, left) == in_sql(sql, left, right)


@pytest.mark.parametrize(
    ("other", "one_apart"),
    [
        ("19800305", True),
        ("19800315", True),
        ("19800350", True),
        ("1980035", True),
        ("198003055", True),
        ("19810315", False),
        ("91803005", False),
    ],
)
def test_one_typing_error(other: str, one_apart: bool) -> None:
    test, sql = compiled({"edits": ["a", 1]}, COLUMNS)
    left: dict[str, str | None] = {"a": "19800305", "b": None}
    right: dict[str, str | None] = {"a": other, "b": None}
    assert test(left, right) == in_sql(sql, left, right) == one_apart


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"sounds_like": "a"}, "no such question"),
        ({"equal": "c"}, "no such column"),
        ({"equal": 'a" = 1 --'}, "no such column"),
        ({"equal": "a", "starts": "a"}, "one question"),
    ],
)
def test_the_set_is_closed(condition: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compiled(condition, COLUMNS)


def in_sql(sql: str, left: dict[str, str | None], right: dict[str, str | None]) -> bool:
    values = ", ".join(
        f"{'null' if value is None else repr(value)}::varchar as {column}_{side}"
        for side, record in (("l", left), ("r", right))
        for column, value in record.items()
    )
    [(found,)] = duckdb.sql(f"select coalesce({sql}, false) from (select {values})").fetchall()
    return bool(found)
