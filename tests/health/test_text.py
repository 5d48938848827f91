"""JSON text: literal numbers survive, what is not JSON in UTF-8 is refused with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health.fhir.outcome import Refusal
from health.fhir.text import DEPTH_MAX, decoded, parsed, unstorable, written


@pytest.mark.parametrize(
    "literal",
    [
        "72.50",
        "5.000",
        "0.0",
        "-0",
        "-0.0",
        "1e3",
        "1E-7",
        "12345678901234567890",
        "0.1000",
        "1.0e+22",
        "100",
    ],
)
def test_a_number_is_written_as_it_was_read(literal: str) -> None:
    text = f'{{"a":[{literal}]}}'
    assert written(parsed(text)) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str))
def test_every_decimal_survives(digits: str) -> None:
    text = f'{{"value":{digits}}}'
    assert written(parsed(text)) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_everything_else_survives(value: Any) -> None:
    surrogates = "\\ud" in json.dumps(value)
    if not surrogates:
        assert json.loads(written(parsed(json.dumps(value)))) == value


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(b"\xef\xbb\xbf{}", "byte order mark", id="bom"),
        pytest.param("{}".encode("utf-16"), "UTF-16", id="utf-16"),
        pytest.param("{}".encode("utf-16-le"), "UTF-16", id="utf-16 without mark"),
        pytest.param('{"name":"张三"}'.encode("gb18030"), "GB 18030", id="gb18030"),
        pytest.param(b'{"a":"\xff"}', "not UTF-8", id="latin"),
    ],
)
def test_another_encoding_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refusal:
        decoded(raw)
    assert refusal.value.status == 400


def test_the_place_of_a_wrong_byte_is_named() -> None:
    with pytest.raises(Refusal) as refusal:
        decoded('{\n"a": "张"}'.encode("gb18030"))
    assert (refusal.value.issues[0].line, refusal.value.issues[0].column) == (2, 7)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [('{"a":1,\n"b" 2}', 2, 5), ("", 1, 1), ("{", 1, 2), ('["\t"]', 1, 3), ("[1] x", 1, 5)],
)
def test_the_place_of_an_error_is_named(text: str, line: int, column: int) -> None:
    with pytest.raises(Refusal) as refusal:
        parsed(text)
    assert (refusal.value.issues[0].line, refusal.value.issues[0].column) == (line, column)


@pytest.mark.parametrize("text", ["[NaN]", "[Infinity]", '{"a":1,"a":2}', "[" * 101 + "]" * 101, "[" * 9999])
def test_what_json_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        parsed(text)


def test_the_deepest_allowed_nesting_is_taken() -> None:
    assert parsed("[" * DEPTH_MAX + "]" * DEPTH_MAX)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"name": [{"family": "a\x00"}]}, "Patient.name[0].family"),
        ({"a": "\ud800"}, "Patient.a"),
        ({"a": "fine \t\r\n 　"}, None),
    ],
)
def test_characters_fhir_does_not_allow_are_named(value: Any, path: str | None) -> None:
    found = unstorable(value, "Patient")
    assert (found.expression if found else None) == path
