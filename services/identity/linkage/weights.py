"""A match weight and the parts it is the sum of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """What one comparison found and what it weighs (bits: each doubles or halves the odds)."""

    comparison: str
    level: str
    bits: float
    agrees: bool
    comparison_zh: str
    comparison_en: str
    zh: str
    en: str

    @classmethod
    def missing(cls, comparison: str, zh: str, en: str) -> "Part":
        """One of the two says nothing: that weighs nothing."""
        return cls(comparison, "missing", 0.0, False, zh, en, "缺", "not known")


@dataclass(frozen=True, slots=True)
class Weight:
    """A pair's match weight: log2 of the odds that both records are of one person."""

    total: float
    prior: float
    parts: tuple[Part, ...]

    @property
    def probability(self) -> float:
        return 1.0 / (1.0 + 2.0**-self.total) if self.total > -1000 else 0.0
