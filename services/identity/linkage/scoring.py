"""How much two records speak for being of one person, with the reason of every bit: the online path."""

from collections.abc import Iterator
from math import log2

from services.identity.linkage.comparators import Columns
from services.identity.linkage.features import Features
from services.identity.linkage.model import Model
from services.identity.linkage.weights import Part, Weight


def score(model: Model, left: Features, right: Features) -> Weight:
    """Weighs two records by the model; symmetric. Pure, about 0.1 ms."""
    return weigh(model, model.columns_of(left.record), model.columns_of(right.record))


def weigh(model: Model, left: Columns, right: Columns) -> Weight:
    """The same on columns already made (`Model.columns_of`)."""
    prior = log2(model.prior / (1 - model.prior))
    parts = tuple(_parts(model, left, right))
    return Weight(prior + sum(part.bits for part in parts), prior, parts)


def _parts(model: Model, left: Columns, right: Columns) -> Iterator[Part]:
    for comparison, tests in zip(model.comparisons, model.tests, strict=True):
        if left[comparison.on] is None or right[comparison.on] is None:
            yield Part.missing(comparison.name, comparison.zh, comparison.en)
            continue
        level = next(level for level, test in zip(comparison.levels, tests, strict=True) if test(left, right))
        yield Part(
            comparison.name,
            level.level,
            level.bits,
            level.agrees,
            comparison.zh,
            comparison.en,
            level.zh,
            level.en,
        )
