"""Names as they are written and as they are read."""

import pytest

from services.identity.linkage import Features, Part, blocking_keys, load, score
from services.identity.linkage.names import NAME_COLUMNS, name_columns


@pytest.mark.parametrize(
    ("left", "right", "level"),
    [
        ("张伟", "张伟", "exact"),
        ("张伟", " 张 伟", "exact"),
        ("买买提·艾合买提", "买买提•艾合买提", "exact"),
        ("买买提·艾合买提", "买买提 艾合买提", "exact"),
        ("买买提·艾合买提", "买买提艾合买提", "exact"),
        ("張偉", "张伟", "variant"),
        ("萧红", "肖红", "variant"),
        ("陈群", "陳羣", "variant"),
        ("张伟", "张玮", "sound"),
        ("单莉", "单丽", "sound"),
        ("张伟", "张维", "toneless"),
        ("张伟", "Zhang Wei", "toneless"),
        ("张伟", "Zhāng Wěi", "toneless"),
        ("欧阳娜娜", "ouyang nana", "toneless"),
        ("张伟", "Wei Zhang", "order"),
        ("李小明", "Xiaoming Li", "order"),
        ("买买提·艾合买提", "艾合买提·买买提", "order"),
        ("买买提·艾合买提", "麦麦提·艾合买提", "toneless"),
        ("买买提·艾合买提", "买买提", "shortened"),
        ("买买提·艾合买提", "买买提·艾", "shortened"),
        ("买买提·艾合买提", "买合买提·艾合买提", "similar"),
        ("张子涵", "张子轩", "character"),
        ("张子涵", "张梓萱", "family"),
        ("陈小红", "王小红", "given"),
        ("张伟", "张强", "family"),
        ("张伟", "李强", "other"),
        ("艾力·买买提", "艾山·买买提", "other"),
    ],
)
def test_how_two_names_compare(left: str, right: str, level: str) -> None:
    assert name_part(left, right).level == name_part(right, left).level == level


def name_part(left: str, right: str) -> Part:
    return score(load(), Features(name=left), Features(name=right)).parts[0]


@pytest.mark.parametrize(
    ("name", "reading"),
    [
        ("单雄信", "shan4xiong2xin4"),
        ("曾国藩", "zeng1guo2fan1"),
        ("尉迟恭", "yu4chi2gong1"),
        ("解缙", "xie4jin4"),
    ],
)
def test_a_family_name_has_its_own_reading(name: str, reading: str) -> None:
    assert name_columns(name)["tones"] == reading


@pytest.mark.parametrize("name", ["", " ", "·", "张", "欧阳", "𬱖", "O'Neil-Smith", "ÅÄÖ", "田中さくら", "1"])
def test_any_text_is_a_name(name: str) -> None:
    columns = name_columns(name)
    assert set(columns) == set(NAME_COLUMNS)
    assert bool(columns[""]) == bool(name.strip(" ·"))


def test_names_that_sound_alike_are_looked_for_in_one_place() -> None:
    keys = {
        frozenset(blocking_keys(Features(name=name, birth_date="1980-03-05"))) for name in ("张伟", "張瑋")
    }
    assert keys == {frozenset({"sb:zhang|19800305", "ny:aeghinwz|1980"})}
    latin = blocking_keys(Features(name="Wei Zhang", birth_date="1980-03-05"))
    assert "ny:aeghinwz|1980" in latin


def test_an_identifier_is_no_stored_key() -> None:
    keys = blocking_keys(Features(citizen_number="110101198003051238", phone_hmac="ab"))
    assert keys == ("ph:ab",)
