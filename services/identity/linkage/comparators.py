"""The closed set of questions that a level may ask of two records, each in Python and in DuckDB's SQL.

A condition is data: `{"equal": "name_pinyin"}`, `{"similar": ["surname", 0.9]}`, `{"any": [...]}`. Both forms
answer alike (a test holds them together), and None is never an answer of yes. DuckDB measures distances in
bytes, so `similar` and `edits` are for columns in Latin letters and digits.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

Columns = Mapping[str, str | None]
Condition = Mapping[str, Any]
Test = Callable[[Columns, Columns], bool]

READING_TEXT = frozenset({"similar", "edits", "starts"})
"""Questions about the letters themselves; all others only ask what is equal."""
OTHERWISE: tuple[Test, str] = (lambda left, right: True, "ELSE")
_COLUMN = re.compile(r"[a-z][a-z0-9_]*")


def equal(column: str) -> tuple[Test, str]:
    def test(left: Columns, right: Columns) -> bool:
        return left[column] is not None and left[column] == right[column]

    return test, f'"{column}_l" = "{column}_r"'


def crossed(one: str, other: str) -> tuple[Test, str]:
    """One record's first column is the other record's second."""

    def test(left: Columns, right: Columns) -> bool:
        return (left[one] is not None and left[one] == right[other]) or (
            right[one] is not None and right[one] == left[other]
        )

    return test, f'("{one}_l" = "{other}_r" OR "{one}_r" = "{other}_l")'


def similar(column: str, at_least: float) -> tuple[Test, str]:
    """Jaro-Winkler similarity, 0 to 1."""

    def test(left: Columns, right: Columns) -> bool:
        a, b = left[column], right[column]
        return a is not None and b is not None and JaroWinkler.similarity(a.encode(), b.encode()) >= at_least

    return test, f'jaro_winkler_similarity("{column}_l", "{column}_r") >= {float(at_least)}'


def edits(column: str, at_most: int) -> tuple[Test, str]:
    """Damerau-Levenshtein distance: letters put in, left out, replaced, or neighbours exchanged."""

    def test(left: Columns, right: Columns) -> bool:
        a, b = left[column], right[column]
        return (
            a is not None and b is not None and DamerauLevenshtein.distance(a.encode(), b.encode()) <= at_most
        )

    distance = f'damerau_levenshtein("{column}_l", "{column}_r") <= {int(at_most)}'
    # One edit leaves texts of one length apart in two places at most, which is told thirty times faster.
    apart = f'strlen("{column}_l") = strlen("{column}_r") THEN hamming("{column}_l", "{column}_r")'
    near = f"CASE WHEN (CASE WHEN {apart} ELSE 0 END) <= 2 THEN {distance} ELSE false END"
    return test, near if at_most == 1 else distance


def starts(column: str) -> tuple[Test, str]:
    """One is the beginning of the other."""

    def test(left: Columns, right: Columns) -> bool:
        a, b = left[column], right[column]
        return a is not None and b is not None and (a.startswith(b) or b.startswith(a))

    left, right = f'"{column}_l"', f'"{column}_r"'
    return test, f"(starts_with({left}, {right}) OR starts_with({right}, {left}))"


_QUESTIONS: Mapping[str, Callable[..., tuple[Test, str]]] = {
    "equal": equal,
    "crossed": crossed,
    "similar": similar,
    "edits": edits,
    "starts": starts,
}


def compiled(condition: Condition, columns: Sequence[str]) -> tuple[Test, str]:
    """A condition as a Python test and as SQL over `column_l`, `column_r`.

    Raises:
        ValueError: it asks what is not in the set, or of a column that there is not.
    """
    if len(condition) != 1:
        raise ValueError(f"a condition has one question: {condition}")
    [(question, about)] = condition.items()
    if question in {"all", "any"}:
        tests, sql = zip(*(compiled(part, columns) for part in about), strict=True)
        return _joined(question, tests), f" {'AND' if question == 'all' else 'OR'} ".join(sql).join("()")
    if question not in _QUESTIONS:
        raise ValueError(f"no such question: {question}; there are {', '.join(_QUESTIONS)}, all, any")
    for column in dict(asked(condition))[question]:
        if column not in columns or not _COLUMN.fullmatch(column):
            raise ValueError(f"{question}: no such column: {column}")
    return _QUESTIONS[question](*([about] if isinstance(about, str) else about))


def asked(condition: Condition) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The questions in a condition, with the columns that each reads."""
    for question, about in condition.items():
        if question in {"all", "any"}:
            for part in about:
                yield from asked(part)
        else:
            arguments = [about] if isinstance(about, str) else about
            yield question, tuple(argument for argument in arguments if isinstance(argument, str))


def _joined(how: str, tests: Sequence[Test]) -> Test:
    together = all if how == "all" else any
    return lambda left, right: together(test(left, right) for test in tests)
