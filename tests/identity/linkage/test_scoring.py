"""What a pair weighs, why, and what follows from it."""

import json
from math import isclose, log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.linkage import Features, Model, Weight, load, score
from services.identity.linkage.model import dumps, parse
from services.identity.linkage.splink_form import from_splink, to_splink

CN = load()
ZHANG = Features("张伟", "1980-03-05", "male", "330102", "330102198003050013", "ab")
NAMES = st.sampled_from(
    ["张伟", "張偉", "张玮", "Wei Zhang", "张强", "李强", "买买提·艾合买提", "买买提", ""]
)
FEATURES = st.builds(
    Features,
    name=st.none() | NAMES,
    birth_date=st.none() | st.dates().map(str) | st.sampled_from(["1980-03-05", "1980-05-03", "1980"]),
    sex=st.none() | st.sampled_from(["male", "female", "unknown", "男"]),
    area=st.none() | st.sampled_from(["330102", "330100", "330000", "330102001", "110101", ""]),
    citizen_number=st.none()
    | st.sampled_from(["330102198003050013", "330102800305001", "33010219800305003X", "1"]),
    phone_hmac=st.none() | st.sampled_from(["ab", "cd"]),
)


def level(comparison: str, left: Features, right: Features) -> str:
    return next(part.level for part in score(CN, left, right).parts if part.comparison == comparison)


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        ("1980-03-05", "19800305", "exact"),
        ("1980-03-05", "1980-05-03", "swapped"),
        ("1980-03-05", "1980-01-19", "lunar"),
        ("2023-04-19", "2023-02-29", "lunar"),
        ("1980-03-05", "1980-03-15", "digit"),
        ("1980-03-05", "1980-03-50", "digit"),
        ("1980-03-05", "1980-11-27", "year"),
        ("1980-03-05", "1980", "year"),
        ("1980-03-05", "1991-11-27", "other"),
    ],
)
def test_birth_dates(left: str, right: str, found: str) -> None:
    assert level("birth_date", Features(birth_date=left), Features(birth_date=right)) == found
    assert level("birth_date", Features(birth_date=right), Features(birth_date=left)) == found


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ("330102198003050013", "exact"),
        ("330102800305001", "exact"),
        ("330102198003050031", "typing"),
        ("330102198003050113", "typing"),
        ("33010219800305003X", "valid_differs"),
        ("110102198103050119", "other"),
    ],
)
def test_citizen_numbers(other: str, found: str) -> None:
    assert level("citizen_number", ZHANG, Features(citizen_number=other)) == found


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ("330102004", "county"),
        ("330105", "prefecture"),
        ("330200", "province"),
        ("110101", "other"),
        (" ", "missing"),
    ],
)
def test_areas(other: str, found: str) -> None:
    assert level("area", ZHANG, Features(area=other)) == found


@given(left=FEATURES, right=FEATURES)
def test_a_weight_is_the_sum_of_its_parts_and_has_no_direction(left: Features, right: Features) -> None:
    weight = score(CN, left, right)
    assert weight == score(CN, right, left)
    assert isclose(weight.total, weight.prior + sum(part.bits for part in weight.parts))
    assert isclose(weight.probability, 2**weight.total / (1 + 2**weight.total))
    assert [part.bits for part in weight.parts if part.level == "missing"] == [
        0.0 for part in weight.parts if part.level == "missing"
    ]


@given(left=FEATURES, right=FEATURES, people=st.integers(2, 10**9))
def test_nobody_is_joined_on_a_name(left: Features, right: Features, people: int) -> None:
    """By the model's own rule, however few people there are: a name alone is not even shown to a clerk."""
    model = CN.for_population(people)
    weight = score(model, left, right)
    agreeing = [p.comparison for p in weight.parts if p.agrees and p.comparison not in {"name", "sex"}]
    verdict = model.verdict(weight)
    assert verdict != "auto" or len(agreeing) >= 2
    assert verdict == "none" or agreeing


@given(other=FEATURES)
def test_two_valid_numbers_are_never_joined_unseen(other: Features) -> None:
    if level("citizen_number", ZHANG, other) == "valid_differs":
        assert CN.verdict(score(CN, ZHANG, other)) != "auto"


def test_twins_go_to_a_clerk() -> None:
    one = Features("张子涵", "2015-06-01", "female", "330102", None, "ab")
    other = Features("张子萱", "2015-06-01", "female", "330102", None, "ab")
    weight = score(CN, one, other)
    assert weight.total > CN.verdicts.auto
    assert CN.verdict(weight) == "review"


def test_more_people_take_more_evidence() -> None:
    few, many = (score(CN.for_population(people), ZHANG, ZHANG) for people in (1_000, 1_000_000))
    assert isclose(few.total - many.total, log2(1000), rel_tol=1e-3)


def test_features_do_not_show_whom_they_are_of() -> None:
    assert repr(ZHANG) == "Features(sex='male', area='330102')"


@pytest.mark.parametrize("name", ["cn_v1", "febrl_v1"])
def test_a_model_says_everything_in_both_languages(name: str) -> None:
    model = load(name)
    words = [w for c in model.comparisons for w in (c.zh, c.en, *(w for x in c.levels for w in (x.zh, x.en)))]
    assert all(words)
    assert model.made["by"] == "services.identity.linkage.train"


@pytest.mark.parametrize("name", ["cn_v1", "febrl_v1"])
def test_a_model_survives_its_file_and_splink(name: str) -> None:
    model = load(name)
    assert parse(json.loads(dumps(model))) == model
    assert from_splink(model, to_splink(model, "link_only")) == model


def test_splink_teaches_m_and_u_but_not_what_is_held() -> None:
    saved = to_splink(CN, "link_only")
    for comparison in saved["comparisons"]:
        for one in comparison["comparison_levels"]:
            one |= {"m_probability": 0.25, "u_probability": 0.5}
    found = from_splink(CN, saved)
    learnt = {x.level: (x.m, x.u) for x in found.comparisons[2].levels}
    assert learnt["exact"] == (0.25, 0.5)
    assert learnt["valid_differs"] == next(
        (x.m, x.u) for x in CN.comparisons[2].levels if x.level == "valid_differs"
    )


def test_another_models_figures_are_refused() -> None:
    saved = to_splink(CN, "link_only")
    saved["comparisons"][0]["comparison_levels"].pop(1)
    with pytest.raises(ValueError, match="name: not the levels of cn_v1"):
        from_splink(CN, saved)


def changed(model: Model, **data: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dumps(model))
    return found | data


def test_a_changed_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not what its sha256 says"):
        parse(changed(CN, matches_per_record=0.5))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fields": {"name": "tune"}}, "no such kind of field: tune"),
        ({"blocking": [{"key": "x", "on": ["shoe_size"]}]}, "no such column: shoe_size"),
        ({"surprise": 1}, "Extra inputs"),
    ],
)
def test_a_model_that_does_not_hold_together_is_refused(change: dict[str, Any], words: str) -> None:
    data = changed(CN, **change)
    data.pop("sha256")
    with pytest.raises(ValueError, match=words):
        Model.model_validate(data)


def test_nothing_known_weighs_what_the_prior_says() -> None:
    weight = score(CN, Features(), ZHANG)
    assert isinstance(weight, Weight)
    assert weight.total == weight.prior
    assert CN.verdict(weight) == "none"
