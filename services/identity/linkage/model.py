"""A linkage model: data with a version, checked against its own hash when it is read.

It says which fields are compared and how (comparators.py), what each level weighs (m and u), where candidates
are looked for (blocking), and from which weight a pair counts as the same person or goes to a clerk.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from math import log2
from typing import Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

from services.identity.linkage.columns import KINDS, column_names, columns_of
from services.identity.linkage.comparators import OTHERWISE, READING_TEXT, Columns, Test, asked, compiled
from services.identity.linkage.weights import Weight

Verdict = Literal["auto", "review", "none"]
DEFAULT = "cn_v1"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Level(_Data):
    """One way two values compare. The last level of a comparison has no condition: everything else.

    `agrees` makes it count as agreement; `held` keeps m and u as written, whatever is learnt.
    """

    level: str
    zh: str
    en: str
    when: dict[str, Any] | None = None
    m: float = Field(gt=0, le=1)
    u: float = Field(gt=0, le=1)
    agrees: bool = False
    held: bool = False

    @property
    def bits(self) -> float:
        """log2 of the Bayes factor m / u."""
        return log2(self.m / self.u)


class Comparison(_Data):
    """Levels in order; the first whose condition holds counts. Where `on` is missing, nothing does."""

    name: str
    zh: str
    en: str
    on: str
    levels: list[Level]


class Blocking(_Data):
    """Pairs that agree on all these columns are candidates. `stored` says whether a register may keep it."""

    key: str
    on: list[str]
    stored: bool = True


class Verdicts(_Data):
    """When a weight (bits) is one person (`auto`), and when a clerk decides (`review`).

    Beside the weight, so many of the `supporting` comparisons must agree: a name is never enough. A level in
    `never_auto` leaves the pair to a clerk whatever it weighs. Of an `exclusive` column a person has one
    value, where the column beside it is filled.
    """

    auto: float
    review: float
    supporting: list[str]
    auto_needs: int = Field(ge=1)
    review_needs: int = Field(ge=1)
    never_auto: dict[str, list[str]] = {}
    exclusive: dict[str, str] = {}


class Model(_Data):
    """A linkage model as it stands in its file."""

    name: str
    fields: dict[str, str]
    matches_per_record: float = Field(gt=0)
    population: int = Field(gt=1)
    blocking: list[Blocking]
    comparisons: list[Comparison]
    verdicts: Verdicts
    made: dict[str, Any]

    def model_post_init(self, context: Any) -> None:
        names = {comparison.name: comparison for comparison in self.comparisons}
        if unknown := set(self.fields.values()) - set(KINDS):
            raise ValueError(f"no such kind of field: {', '.join(sorted(unknown))}")
        for name in (*self.verdicts.supporting, *self.verdicts.never_auto):
            if name not in names:
                raise ValueError(f"verdicts: no such comparison: {name}")
        read = [*(c.on for c in self.comparisons), *(column for b in self.blocking for column in b.on)]
        if missing := set(read) - set(self.columns):
            raise ValueError(f"no such column: {', '.join(sorted(missing))}")
        for comparison in self.comparisons:
            if [level.when is None for level in comparison.levels].index(True) != len(comparison.levels) - 1:
                raise ValueError(f"{comparison.name}: the last level, and only it, has no condition")
        _ = self._compiled

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for field, kind in self.fields.items() for column in column_names(field, kind))

    @cached_property
    def tests(self) -> tuple[tuple[Test, ...], ...]:
        """Each comparison's levels as questions in Python."""
        return tuple(tuple(test for test, _ in levels) for levels in self._compiled)

    @cached_property
    def conditions(self) -> tuple[tuple[str, ...], ...]:
        """Each comparison's levels as conditions in SQL."""
        return tuple(tuple(sql for _, sql in levels) for levels in self._compiled)

    @cached_property
    def _compiled(self) -> tuple[tuple[tuple[Test, str], ...], ...]:
        return tuple(
            tuple(
                compiled(level.when, self.columns) if level.when else OTHERWISE for level in comparison.levels
            )
            for comparison in self.comparisons
        )

    @cached_property
    def used_columns(self) -> tuple[str, ...]:
        """The columns that a comparison or a blocking rule reads."""
        used = {column for _, columns in self._asked for column in columns}
        used |= {comparison.on for comparison in self.comparisons}
        used |= {column for rule in self.blocking for column in rule.on}
        return tuple(column for column in self.columns if column in used)

    @cached_property
    def text_columns(self) -> frozenset[str]:
        """Those whose letters are read, and what is held against them; of the others any code will do."""
        text = {column for question, columns in self._asked if question in READING_TEXT for column in columns}
        while more := {c for _, columns in self._asked if text & set(columns) for c in columns} - text:
            text |= more
        return frozenset(text)

    @cached_property
    def _asked(self) -> list[tuple[str, tuple[str, ...]]]:
        levels = [level for comparison in self.comparisons for level in comparison.levels]
        return [question for level in levels if level.when for question in asked(level.when)]

    @property
    def prior(self) -> float:
        """The probability that two records taken at random are of one person."""
        return min(self.matches_per_record / self.population, 0.5)

    def for_population(self, people: int) -> "Model":
        """The same model where candidates come from so many people: the more, the more evidence it takes."""
        return self.model_copy(update={"population": max(people, 2)})

    def verdict(self, weight: Weight) -> Verdict:
        """What follows from a weight."""
        rules = self.verdicts
        agreeing = sum(part.agrees and part.comparison in rules.supporting for part in weight.parts)
        barred = any(part.level in rules.never_auto.get(part.comparison, ()) for part in weight.parts)
        if weight.total >= rules.auto and agreeing >= rules.auto_needs and not barred:
            return "auto"
        return "review" if weight.total >= rules.review and agreeing >= rules.review_needs else "none"

    def columns_of(self, record: Mapping[str, str | None]) -> Columns:
        """What is compared of a record given by field."""
        found: dict[str, str | None] = {}
        for field, kind in self.fields.items():
            found |= columns_of(field, kind, record.get(field))
        return found


def sha256_of(data: Mapping[str, Any]) -> str:
    """The hash of a model file: over its RFC 8785 form without the hash itself."""
    return hashlib.sha256(rfc8785.dumps({k: v for k, v in data.items() if k != "sha256"})).hexdigest()


@cache
def load(name: str = DEFAULT) -> Model:
    """The model of this name and version.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not what its hash says, or does not hold together.
    """
    text = files("services.identity").joinpath(f"knowledge/linkage/{name}.json").read_text(encoding="utf-8")
    return parse(json.loads(text))


def parse(data: Mapping[str, Any]) -> Model:
    """A model file's content, checked. Raises ValueError."""
    if data.get("sha256") != sha256_of(data):
        raise ValueError(f"the linkage model {data.get('name')} is not what its sha256 says")
    return Model.model_validate({key: value for key, value in data.items() if key != "sha256"})


def dumps(model: Model) -> str:
    """The text of a model's file."""
    data = model.model_dump(exclude_defaults=True)
    return json.dumps(data | {"sha256": sha256_of(data)}, ensure_ascii=False, indent=1) + "\n"
