"""The tables that are published: definitions as data, checked when they are loaded."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import permutations
from typing import Any, Literal

from services.exchange.open_data.generalising import WAYS
from services.kit.problems import not_found

LEAST_K = 5


@dataclass(frozen=True, slots=True)
class Dimension:
    """A column that people are counted by: an item of the dataset, made coarser by a way."""

    name: str
    item: str
    way: str
    title_zh: str
    title_en: str


@dataclass(frozen=True, slots=True)
class Product:
    """An open dataset: how many people, or rows, there are for each combination of its dimensions.

    Attributes:
        counts: `people` counts each person once in a cell; `rows` is for datasets that are not personal.
        k: a count below it is withheld.
        rounded_to: what is shown is rounded to a multiple of it, so that the difference between two releases
            does not tell of one person.
    """

    id: str
    dataset: str
    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    dimensions: tuple[Dimension, ...]
    counts: Literal["people", "rows"]
    k: int
    rounded_to: int
    legal_basis: str

    @property
    def columns(self) -> list[str]:
        return [*(dimension.name for dimension in self.dimensions), self.counts]


class DefinitionError(ValueError):
    """A definition that must not be published; says which and why."""


@cache
def products() -> dict[str, Product]:
    """The products that ship with the suite, by id.

    Raises:
        DefinitionError: one would tell too much.
    """
    text = files("services.exchange").joinpath("knowledge/open_data.json").read_text(encoding="utf-8")
    return checked(json.loads(text)["products"])


def checked(definitions: list[dict[str, Any]]) -> dict[str, Product]:
    """Products of their definitions.

    Raises:
        DefinitionError: one is wrong, or two of them together would tell what each withholds.
    """
    found = {one["id"]: _product(one) for one in definitions}
    if len(found) < len(definitions):
        raise DefinitionError("two products have the same id")
    for one, other in permutations(found.values(), 2):
        if one.dataset == other.dataset and _items(one) <= _items(other):
            # The one is totals of the other, or of its totals: what is withheld follows by subtraction. A
            # year is the total of its months, so the ways do not matter.
            raise DefinitionError(f"{one.id} would publish the totals of {other.id}")
    return found


def find(id: str) -> Product:
    """Raises Problem 404 when there is none."""
    found = products().get(id)
    if found is None:
        raise not_found(f"there is no open dataset {id}; see /open-data/products", code="unknown_product")
    return found


def _product(said: dict[str, Any]) -> Product:
    found = Product(**{**said, "dimensions": tuple(Dimension(**one) for one in said["dimensions"])})
    if found.k < LEAST_K or found.rounded_to < 1 or found.k % found.rounded_to:
        raise DefinitionError(f"{found.id}: k is at least {LEAST_K} and a multiple of rounded_to")
    if not found.dimensions or any(dimension.way not in WAYS for dimension in found.dimensions):
        raise DefinitionError(f"{found.id}: dimensions name a way out of {', '.join(WAYS)}")
    return found


def _items(product: Product) -> set[str]:
    return {dimension.item for dimension in product.dimensions}
