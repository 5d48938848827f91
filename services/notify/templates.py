"""What a person is told of an event, in Chinese and English: `locales/{zh,en}.json`, by the event's type.

Times are those of Asia/Shanghai. What an event does not say is left open in words, never an error: a person
who is told something incomplete can ask, one who is told nothing cannot.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import orjson

CIVIL_TIME = ZoneInfo("Asia/Shanghai")
LANGUAGES = ("zh", "en")
OTHER = "other"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@cache
def texts(language: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(
        files("services.notify").joinpath(f"locales/{language}.json").read_bytes()
    )
    return found


def words_of(event: Mapping[str, Any], tier: int | None = None) -> dict[str, tuple[str, str]]:
    """Title and body by language.

    Args:
        event: its CloudEvents form.
        tier: of the ladder, where a tier before it did not acknowledge.
    """
    return {language: _words(event, tier, language) for language in LANGUAGES}


def _words(event: Mapping[str, Any], tier: int | None, language: str) -> tuple[str, str]:
    t = texts(language)
    template = t.get(event["type"], t[OTHER])
    values = _Values(event, language)
    body = template["body"].format_map(values)
    if tier is not None and tier > 1:
        body = f"{body} {t['climbed'].format(tier=tier)}"
    return template["title"].format_map(values), body


class _Values(dict[str, str]):
    """An event's data as words of a language."""

    def __init__(self, event: Mapping[str, Any], language: str) -> None:
        self._language = language
        self._data = {"at": event["time"], "type": event["type"], **event["data"]}
        name = self._data.get("zone_name")
        self._data["zone"] = name.get(language) if isinstance(name, Mapping) else self._data.get("zone")

    def __missing__(self, key: str) -> str:
        value, words = self._data.get(key), texts(self._language)["words"]
        if value is None:
            return str(words["unknown"])
        if key in ("level", "previous", "state"):
            return str(words["state" if key == "state" else "level"].get(value, value))
        if key == "share":
            return f"{value:.1%}"
        if key == "at" or key.endswith("_at"):
            return moment(value, self._language)
        return f"{value:,}" if isinstance(value, int) else str(value)


def moment(at: str | datetime, language: str) -> str:
    """A time as the clock in China has it, to the minute."""
    local = (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(CIVIL_TIME)
    if language == "zh":
        return f"{local.year}年{local.month}月{local.day}日 {local:%H:%M}"
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year} {local:%H:%M} (Beijing time)"
