"""Where in a JSON text a place of its tree stands: for errors, line and column as an editor counts them."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace

from health.fhir.outcome import Issue, expression

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PLAIN = re.compile(r"[^,\]}\s]+")
_INDEXED = re.compile(r"\[\d+\]$")


def located(raw: bytes, path: str, issues: Iterable[Issue]) -> list[Issue]:
    """The issues with line and column of their expressions; of the nearest place above for what is missing.

    Args:
        path: the FHIRPath that the whole text has in the issues.
    """
    found = list(issues)
    wanted = {place for one in found if one.expression is not None for place in _upwards(one.expression)}
    text = raw.decode("utf-8", "replace")
    try:
        places = _Scan(text, wanted).places(path)
    except (IndexError, ValueError, RecursionError):
        return found  # no JSON, which its own error says
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def told(issue: Issue) -> Issue:
        at = next((places[place] for place in _upwards(issue.expression or "") if place in places), None)
        if at is None or issue.line is not None:
            return issue
        line = _line(starts, at)
        return replace(issue, line=line + 1, column=at - starts[line] + 1)

    return [told(issue) for issue in found]


def _line(starts: list[int], at: int) -> int:
    return bisect_right(starts, at) - 1


def _upwards(place: str) -> Iterable[str]:
    """The place, then what it is in, and so on."""
    while place:
        yield place
        shorter = _INDEXED.sub("", place)
        place = shorter if shorter != place else place.rpartition(".")[0]


class _Scan:
    """A reader of JSON that keeps nothing but where the wanted places begin."""

    def __init__(self, text: str, wanted: set[str]) -> None:
        self._text = text
        self._wanted = wanted
        self._found: dict[str, int] = {}

    def places(self, path: str) -> dict[str, int]:
        self._value(self._skipped(0), path, [])
        return self._found

    def _end(self, token: "re.Pattern[str]", at: int) -> int:
        found = token.match(self._text, at)
        if found is None:
            raise ValueError(at)
        return found.end()

    def _skipped(self, at: int) -> int:
        return self._end(_SPACE, at)

    def _value(self, at: int, path: str, steps: list[str | int]) -> int:
        place = expression(path, steps)
        if place in self._wanted:
            self._found.setdefault(place, at)
        match self._text[at]:
            case "{":
                return self._members(at, path, steps)
            case "[":
                return self._items(at, path, steps)
            case '"':
                return self._end(_STRING, at)
            case _:
                return self._end(_PLAIN, at)

    def _members(self, at: int, path: str, steps: list[str | int]) -> int:
        at = self._skipped(at + 1)
        while self._text[at] != "}":
            end = self._end(_STRING, at)
            name = json.loads(self._text[at:end])
            colon = self._skipped(end)
            at = self._skipped(self._value(self._skipped(colon + 1), path, [*steps, name]))
            if self._text[at] == ",":
                at = self._skipped(at + 1)
        return at + 1

    def _items(self, at: int, path: str, steps: list[str | int]) -> int:
        at, index = self._skipped(at + 1), 0
        while self._text[at] != "]":
            at = self._skipped(self._value(at, path, [*steps, index]))
            index += 1
            if self._text[at] == ",":
                at = self._skipped(at + 1)
        return at + 1
