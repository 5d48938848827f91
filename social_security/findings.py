"""Findings as auditors read them, with their evidence: keys of the rows, never copies."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection, Row
from services.kit.principals import Principal
from services.kit.problems import Fault, bad_request
from social_security.analytics.pack import load_pack
from social_security.repository import findings
from social_security.shapes import EvidenceKey, Finding, FindingStatus, PageOf, Words


async def page(
    db: Connection,
    *,
    principal: Principal,
    rule: str | None,
    status: FindingStatus | None,
    first: int,
    after: str | None,
) -> PageOf[Finding]:
    """Findings in the principal's areas, by amount at risk, largest first.

    Raises:
        Problem: 400 for a rule that is not in the pack, or a cursor of another list.
    """
    known = load_pack().rules
    if rule is not None and rule not in known:
        detail = f"there is no rule {rule[:40]}; there are {', '.join(sorted(known))}"
        raise bad_request("unknown_rule", detail, Fault(detail, field="rule", code="unknown_rule"))
    rows = await findings.page(
        db, principal=principal, rule=rule, status=status, after=_after_amount(after), limit=first + 1
    )
    following = None
    if len(rows) > first:
        following = encode_cursor(rows[first - 1]["amount_at_risk"], rows[first - 1]["finding_key"])
    return _paged(rows, first, following)


async def about(db: Connection, persons: Sequence[str], *, first: int, after: str | None) -> PageOf[Finding]:
    """Every flag on one person, newest first, for that person."""
    rows = await findings.about(db, persons, after=_after_time(after), limit=first + 1)
    following = None
    if len(rows) > first:
        following = encode_cursor(
            rows[first - 1]["first_seen_at"].isoformat(), rows[first - 1]["finding_key"]
        )
    page = _paged(rows, first, following)
    for finding in page.items:
        finding.subject = None
    return page


def _paged(rows: list[Row], first: int, following: str | None) -> PageOf[Finding]:
    return PageOf(items=[finding_of(row) for row in rows[:first]], next=following)


def finding_of(row: Row) -> Finding:
    rule = load_pack().rules.get(row["rule"])
    title = Words(zh=rule.title.zh, en=rule.title.en) if rule else Words(zh=row["rule"], en=row["rule"])
    basis = [f"{item.instrument} {item.article}" for item in rule.legal_basis] if rule else []
    return Finding(
        finding_key=row["finding_key"],
        rule=row["rule"],
        rule_version=row["rule_version"],
        form=row["form"],
        title=title,
        legal_basis=basis,
        result=row["result"],
        severity=row["severity"],
        status=row["status"],
        subject=row["subject"],
        party_role=row["party_role"],
        evidence=[EvidenceKey(**key) for key in row["evidence"]],
        observed=row["observed"],
        allowed=Words(zh=row["allowed_zh"], en=row["allowed_en"]),
        explanation=Words(zh=row["explain_zh"], en=row["explain_en"]),
        amount_at_risk=row["amount_at_risk"],
        currency=row["currency"],
        areas=row["areas"],
        first_seen_at=row["first_seen_at"],
        last_seen_at=row["last_seen_at"],
        vanished_at=row["vanished_at"],
    )


def _after_amount(after: str | None) -> tuple[Decimal, str] | None:
    if after is None:
        return None
    amount, key = decode_cursor(after, 2)
    return _read(Decimal, amount), key


def _after_time(after: str | None) -> tuple[datetime, str] | None:
    if after is None:
        return None
    time, key = decode_cursor(after, 2)
    return _read(datetime.fromisoformat, time), key


def _read(kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except (ValueError, ArithmeticError) as error:
        raise bad_cursor() from error
