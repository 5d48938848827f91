"""A model in Splink's own saved form, and back: Splink trains it and applies it to whole tables."""

from collections.abc import Mapping
from typing import Any, Literal

from services.identity.linkage.model import Blocking, Comparison, Level, Model

LEAST = {"m": 5e-4, "u": 1e-7}  # nothing is impossible, however seldom it was seen
LinkType = Literal["dedupe_only", "link_only"]


def to_splink(model: Model, link_type: LinkType) -> dict[str, Any]:
    """Splink 5's settings: what `linker.misc.save_model_to_json` writes of the same model."""
    return {
        "link_type": link_type,
        "probability_two_random_records_match": model.prior,
        "retain_matching_columns": True,
        "retain_intermediate_calculation_columns": False,
        "unique_id_column_name": "unique_id",
        "blocking_rules_to_generate_predictions": [
            {"blocking_rule": _blocking_sql(rule), "sql_dialect": "duckdb"} for rule in model.blocking
        ],
        "comparisons": [
            {
                "output_column_name": comparison.name,
                "comparison_description": comparison.en,
                "comparison_levels": [_missing(comparison), *_levels(comparison, model.conditions[index])],
            }
            for index, comparison in enumerate(model.comparisons)
        ],
    }


def from_splink(model: Model, saved: Mapping[str, Any]) -> Model:
    """The model with the m and u of a saved Splink model; a level never seen keeps what it had.

    Raises:
        ValueError: the saved model does not have this model's comparisons and levels.
    """
    found = {comparison["output_column_name"]: comparison for comparison in saved["comparisons"]}
    comparisons = []
    for index, comparison in enumerate(model.comparisons):
        levels = [
            level for level in found[comparison.name]["comparison_levels"] if not level.get("is_null_level")
        ]
        if [level["sql_condition"] for level in levels] != list(model.conditions[index]):
            raise ValueError(f"{comparison.name}: not the levels of {model.name}")
        comparisons.append(
            comparison.model_copy(update={"levels": list(map(_with, comparison.levels, levels))})
        )
    return model.model_copy(update={"comparisons": comparisons})


def _with(level: Level, trained: Mapping[str, Any]) -> Level:
    found = {name: trained.get(f"{name}_probability") for name in ("m", "u")}
    seen = {
        name: max(float(f"{value:.6g}"), LEAST[name])
        for name, value in found.items()
        if isinstance(value, float)
    }
    return level if level.held else level.model_copy(update=seen)


def _missing(comparison: Comparison) -> dict[str, Any]:
    on = comparison.on
    return {
        "sql_condition": f'"{on}_l" IS NULL OR "{on}_r" IS NULL',
        "label_for_charts": "missing",
        "is_null_level": True,
    }


def _levels(comparison: Comparison, conditions: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "sql_condition": condition,
            "label_for_charts": level.level,
            "m_probability": level.m,
            "u_probability": level.u,
        }
        for level, condition in zip(comparison.levels, conditions, strict=True)
    ]


def _blocking_sql(rule: Blocking) -> str:
    return " AND ".join(f'l."{column}" = r."{column}"' for column in rule.on)
