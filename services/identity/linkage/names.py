"""What a personal name looks like to a comparison: how it is read aloud, spelt, ordered and shortened.

A Chinese name is written as one word, family name first, and goes wrong by sound (张伟, 张玮), by character
form (張, 张), by order in Latin letters (Wei Zhang). A name of several words parted by "·" (买买提·艾合买提)
goes wrong at the dot, or keeps only its first word.
"""

import json
import os
import re
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

Columns = dict[str, str | None]

NAME_COLUMNS = (
    "",
    "folded",
    "tones",
    "pinyin",
    "swapped",
    "family",
    "given",
    "first",
    "long",
    "but_last",
    "but_middle",
    "letters",
)
_PARTS = re.compile(r"[\s·•・‧∙⋅．.\-'’,，]+")
_DOT = re.compile("[·•・‧∙⋅．.]")
_HAN = re.compile(r"[㐀-鿿豈-﫿𠀀-𳿿]")
_TONES = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}
_TWO = 2  # characters of a given name of which one may be wrong
_DIGITS = {ord(digit): None for digit in "1234"}
_LONGEST_CHINESE = 4  # characters: 张 小明 is a Chinese name with a space, 买买提 艾合买提 is not


def name_columns(text: str) -> Columns:
    """A name, by what is compared (`NAME_COLUMNS`): None where the question does not arise."""
    plain = unicodedata.normalize("NFKC", text).casefold().strip()
    words = [word for word in _PARTS.split(plain) if word]
    if not words:
        return dict.fromkeys(NAME_COLUMNS)
    name = "".join(words)
    one_word = len(words) == 1 or (len(name) <= _LONGEST_CHINESE and not _DOT.search(plain))
    return _chinese(name) if one_word and all(map(_HAN.match, name)) else _several(words)


def _chinese(name: str) -> Columns:
    folded = "".join(_folded(letter) for letter in name)
    family = _family(folded)
    given = folded[len(family) :]
    spelt = _knowledge("surnames")["spellings"].get(family, family) + given
    family_tones = _surname_reading(family)
    given_tones = "".join(_reading(letter) for letter in given)
    family_sound, given_sound = _toneless(family_tones), _toneless(given_tones)
    sound = family_sound + given_sound
    return {
        "": name,
        "folded": spelt,
        "tones": family_tones + given_tones,
        "pinyin": sound,
        "swapped": given_sound + family_sound if given_sound else None,
        "family": family_sound,
        "given": given_sound or None,
        "first": None,
        "long": None,
        "but_last": f"{spelt[:-1]}_" if len(given) == _TWO else None,
        "but_middle": f"{spelt[:-2]}_{spelt[-1]}" if len(given) == _TWO else None,
        "letters": "".join(sorted(sound)),
    }


def _several(words: list[str]) -> Columns:
    """Words parted by a dot or a space, or in another script than Chinese."""
    folded = ["".join(_folded(letter) for letter in word) for word in words]
    sounds = ["".join(_toneless(_reading(letter)) for letter in word) for word in folded]
    sound = "".join(sounds)
    return {
        "": "".join(words),
        "folded": "".join(folded),
        "tones": None,
        "pinyin": sound,
        "swapped": "".join((*sounds[1:], sounds[0])) if len(sounds) > 1 else None,
        "family": sounds[0],
        "given": None,  # what follows is often the father's name, which brothers share
        "first": folded[0] if len(folded) > 1 else None,
        "long": sound,
        "but_last": None,
        "but_middle": None,
        "letters": "".join(sorted(sound)),
    }


def _family(name: str) -> str:
    """The family name; a name is never all family name."""
    longer = (size for size in (4, 2) if len(name) > size and name[:size] in _compound())
    return name[: next(longer, 1)]


@cache
def _compound() -> frozenset[str]:
    return frozenset(_knowledge("surnames")["compound"])


def _surname_reading(family: str) -> str:
    readings: dict[str, str] = _knowledge("surnames")["readings"]
    return readings.get(family) or "".join(readings.get(letter) or _reading(letter) for letter in family)


def _folded(letter: str) -> str:
    """The simplified or commonest form of a character: 張 is 张, 峯 is 峰."""
    return _variants().get(letter, letter)


@cache
def _variants() -> dict[str, str]:
    table = _knowledge("variants")
    return dict(zip(table["from"], table["to"], strict=True))


@lru_cache(maxsize=30_000)
def _reading(letter: str) -> str:
    """The commonest reading with its tone as a digit (`zhang1`); a letter that is not Chinese, as it is."""
    first = _pinyin().get(ord(letter), letter).split(",")[0]
    marks = unicodedata.normalize("NFD", first.replace("ü", "v"))
    tone = "".join(_TONES.get(mark, "") for mark in marks) if first != letter else ""
    return "".join(mark for mark in marks if not unicodedata.combining(mark)) + tone


def _toneless(reading: str) -> str:
    return reading.translate(_DIGITS)


@cache
def _pinyin() -> dict[int, str]:
    # Readings of single characters are all that is asked for; the phrases would take 45 MB.
    os.environ.setdefault("PYPINYIN_NO_PHRASES", "true")
    from pypinyin.pinyin_dict import pinyin_dict

    found: dict[int, str] = pinyin_dict
    return found


@cache
def _knowledge(name: str) -> dict[str, Any]:
    text = files("services.identity").joinpath(f"knowledge/linkage/{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
