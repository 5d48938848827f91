"""Runs the chosen rules over a snapshot's Parquet files and writes down what they find."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import ibis
import orjson
import pyarrow

from social_security.analytics.expressions import EXPRESSIONS
from social_security.analytics.pack import Form, Pack, Rule
from social_security.analytics.tables import COMMON, EVIDENCE, KEY_SEPARATOR, TABLES, Tables

BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may take of the machine."""

    memory_mb: int = 2048
    threads: int = 2


def engines() -> dict[str, str]:
    return {
        "duckdb": duckdb.__version__,
        "ibis": ibis.__version__,
        "sqlglot": version("sqlglot"),
        "pyarrow": pyarrow.__version__,
    }


def connect(limits: Limits, spill: Path | None = None) -> Any:
    connection = ibis.duckdb.connect(
        threads=limits.threads, memory_limit=f"{limits.memory_mb}MB", autoinstall_known_extensions=False
    )
    if spill is not None:
        connection.raw_sql(f"set temp_directory = '{str(spill).replace(chr(39), chr(39) * 2)}'").fetchall()
    return connection


def run(
    pack: Pack, rules: Sequence[str], files: Mapping[str, Path], out: Path, *, limits: Limits | None = None
) -> list[dict[str, Any]]:
    """Writes every finding as one line of JSON, in the order of their keys.

    The same files and rules give the same bytes: nothing depends on the clock, on chance or on threads.

    Returns:
        For each rule its version, how many findings, and the seconds it took.
    """
    connection = connect(limits or Limits(), spill=out.parent)
    for name, path in files.items():
        connection.read_parquet(str(path), table_name=name)
    for name in TABLES.keys() - files.keys():
        connection.create_table(name, schema=ibis.schema(dict(TABLES[name])))
    done: list[dict[str, Any]] = []
    with out.open("wb") as lines:
        for rule in pack.chosen(rules):
            began = time.perf_counter()
            found = sorted(findings(connection, rule), key=lambda finding: str(finding["finding_key"]))
            for finding in found:
                lines.write(orjson.dumps(finding) + b"\n")
            seconds = round(time.perf_counter() - began, 3)
            done.append({"rule": rule.id, "version": rule.version, "found": len(found), "seconds": seconds})
    return done


def findings(connection: Any, rule: Rule) -> Iterator[dict[str, Any]]:
    """What one rule finds in the tables the connection holds."""
    for name, form in rule.forms.items():
        select = expression(rule, name)
        for batch in connection.to_pyarrow_batches(select, chunk_size=BATCH):
            yield from (finding_of(rule, name, form, row) for row in batch.to_pylist())


def expression(rule: Rule, form: str) -> Any:
    """The sub-form's expression, held to the time in which the rule is in force.

    Raises:
        ValueError: the expression is unknown, or does not say what the rule observes.
    """
    if form not in EXPRESSIONS:
        raise ValueError(f"{rule.id} names the expression {form}; known are {', '.join(sorted(EXPRESSIONS))}")
    select = EXPRESSIONS[form](Tables.unbound())
    missing = {*COMMON, *rule.forms[form].observed} - set(select.columns)
    if missing or not EVIDENCE.keys() & set(select.columns):
        raise ValueError(f"the expression {form} does not say {', '.join(sorted(missing)) or 'its evidence'}")
    select = select.filter(select.fact_date >= rule.effective.start)
    if rule.effective.end is not None:
        select = select.filter(select.fact_date <= rule.effective.end)
    return select


def finding_of(rule: Rule, name: str, form: Form, row: Mapping[str, Any]) -> dict[str, Any]:
    """A finding from a row of the expression; its key stays the same for as long as rule and evidence do."""
    evidence = sorted(
        _keyed(kind, key) for column, kind in EVIDENCE.items() for key in (row.get(column) or ())
    )
    amount: Decimal = row["amount_at_risk"]
    observed = {field: _said(field, row[field]) for field in form.observed}
    said = {**observed, "amount_at_risk": str(amount), "currency": row["currency"]}
    return {
        "finding_key": key_of_finding(rule.id, evidence),
        "rule": rule.id,
        "rule_version": rule.version,
        "form": name,
        "subject": row["subject"],
        "party_role": rule.party_role,
        "result": rule.result,
        "severity": rule.severity_of(amount),
        "evidence": [dict(zip(("kind", "organisation", "key"), item, strict=True)) for item in evidence],
        "observed": observed,
        "allowed_zh": form.allowed.zh,
        "allowed_en": form.allowed.en,
        "explain_zh": form.explain.zh.format_map(_in_words(said, "zh")),
        "explain_en": form.explain.en.format_map(_in_words(said, "en")),
        "amount_at_risk": str(amount),
        "currency": row["currency"],
        "areas": sorted(set(row["areas"])),
    }


def key_of_finding(rule: str, evidence: Iterable[Sequence[str]]) -> str:
    """Whose rows they are is left out: a person's id is renewed, and people are found to be one."""
    parts = [rule, *("\x1e".join(item) for item in evidence)]
    return hashlib.sha256("\x1d".join(parts).encode()).hexdigest()


def _keyed(kind: str, key: str) -> tuple[str, str, str]:
    organisation, _, own = key.partition(KEY_SEPARATOR)
    return kind, organisation, own.replace(KEY_SEPARATOR, " ")


def _said(field: str, value: object) -> object:
    if isinstance(value, date):
        # A period is kept as its first day and said as its month.
        return value.isoformat()[:7] if field == "period" else value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


_WORDS = {
    "pension": ("养老金", "the pension"),
    "unemployment_benefit": ("失业保险金", "unemployment benefit"),
    "minimum_living": ("最低生活保障金", "the minimum living allowance"),
    "maternity_allowance": ("生育津贴", "the maternity allowance"),
    "injury_allowance": ("工伤津贴", "the work injury allowance"),
}


def _in_words(said: Mapping[str, object], language: str) -> dict[str, object]:
    spoken = dict(said)
    with suppress(KeyError):
        zh, en = _WORDS[str(said["benefit"])]
        spoken["benefit"] = zh if language == "zh" else en
    return spoken
