"""The rule pack: one YAML file a rule, checked when it is loaded, versioned by its content.

A rule's text is data. What it selects is an ibis expression reviewed in git (`expressions.py`), which the
rule names; nothing of a rule is ever evaluated.
"""

import hashlib
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from social_security.analytics.tables import TABLES

RULES = Path(__file__).parents[1] / "rules"

FORBIDDEN = re.compile(
    r"nationalit|ethnic|(^|_)race(_|$)|religio|native_place|surname|(^|_)(given|family|full|person)_?name|^name$"
    r"|民族|国籍|宗教|籍贯|姓名|姓氏"
)
"""What a rule may neither read nor observe: a column with such a name makes it fail to load."""

Severity = Literal["low", "medium", "high"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Words(_Strict):
    """A text in both languages."""

    zh: str
    en: str


class LegalBasis(_Strict):
    instrument: str
    article: str


class Effective(_Strict):
    """Held against the day of the fact (service date, month of the benefit), never the day of the run."""

    start: Annotated[date, Field(alias="from")]
    end: Annotated[date | None, Field(alias="to")]


class Form(_Strict):
    """One sub-form of a rule, with its own expression of the same name, its definition and its words."""

    definition: Words
    observed: list[str]
    allowed: Words
    explain: Words


class BySeverity(_Strict):
    by_amount: list[tuple[Decimal, Severity]]


class RuleTest(_Strict):
    """Rows given and the findings expected of them; run by tests/social_security/test_rules.py."""

    name: str
    given: dict[str, list[dict[str, Any]]]
    expect: list[dict[str, Any]]


class Rule(_Strict):
    """One rule as its YAML file says it."""

    id: str
    title: Words
    kind: Annotated[Literal["policy", "management", "medical"], Field(alias="class")]
    result: Literal["violation", "suspicion"]
    stage: list[Literal["pre_notice", "pre_payment", "post_payment"]]
    grain: Literal["day", "month", "year"]
    party_role: Literal["beneficiary", "intermediary", "employer", "provider"]
    reads: list[str]
    modules: list[str]
    partition_key: list[str]
    lookback: str
    effective: Effective
    legal_basis: list[LegalBasis]
    forms: dict[str, Form]
    severity: BySeverity
    tests: list[RuleTest]
    version: str = ""

    @model_validator(mode="after")
    def _decent(self) -> "Rule":
        for table in self.reads:
            if table not in TABLES:
                raise ValueError(f"{self.id} reads {table}; a snapshot holds {', '.join(TABLES)}")
        seen = [column for table in self.reads for column in TABLES[table]]
        seen += [name for form in self.forms.values() for name in form.observed]
        for name in seen:
            if FORBIDDEN.search(name):
                raise ValueError(f"{self.id} looks at {name}: no rule may judge anybody by that")
        for form in self.forms.values():
            for text in (form.explain.zh, form.explain.en):
                unknown = _placeholders(text) - {*form.observed, "amount_at_risk", "currency"}
                if unknown:
                    raise ValueError(
                        f"{self.id} explains with {', '.join(sorted(unknown))}, which it does not observe"
                    )
        return self

    def severity_of(self, amount: Decimal) -> Severity:
        return [level for least, level in self.severity.by_amount if amount >= least][-1]


def _placeholders(text: str) -> set[str]:
    """Names in braces; anything but a plain name (an attribute, an index, a format) is refused."""
    found: set[str] = set()
    for _, name, form, conversion in string.Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or form or conversion:
            raise ValueError(f"{{{name}}} is no plain name")
        found.add(name)
    return found


@dataclass(frozen=True, slots=True)
class Pack:
    """All rules, and the hash over everything they are made of."""

    rules: Mapping[str, Rule]
    sha256: str

    def chosen(self, ids: Sequence[str]) -> list[Rule]:
        """The rules named, or all; in the order of their ids."""
        return [self.rules[name] for name in sorted(ids or self.rules)]


@cache
def load_pack(folder: Path = RULES) -> Pack:
    """Reads and checks every rule.

    Raises:
        ValueError: a file is not a rule, or a rule looks at what none may look at.
    """
    rules: dict[str, Rule] = {}
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_bytes()
        rule = Rule.model_validate(yaml.safe_load(text))
        if rule.id != path.stem:
            raise ValueError(f"{path.name} holds the rule {rule.id}; file and rule are named alike")
        rules[rule.id] = rule.model_copy(update={"version": _version(text, rule.modules)})
    over_all = hashlib.sha256("".join(rule.version for rule in rules.values()).encode())
    return Pack(rules, over_all.hexdigest())


def _version(text: bytes, modules: Sequence[str]) -> str:
    """Content hash of a rule: its text and the expression modules it stands on."""
    digest = hashlib.sha256(text)
    for module in modules:
        digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
    return digest.hexdigest()[:16]
