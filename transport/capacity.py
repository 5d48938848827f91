"""How many people a zone may hold, and from which number each warning level counts.

LB/T 034-2014: the instantaneous capacity is C1 = Σ Xi/Yi (effective area over area per visitor), the daily
one C2 = C1 × T/t (opening time over mean stay). The standard's own printed examples do not follow its
formulas, so the arithmetic is exact, rounded down to whole people once at the end, and shown.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row, Transaction
from services.kit.ids import uuid7
from services.kit.problems import Fault, Problem, conflict, not_found, unprocessable
from transport import shapes
from transport.repository import flows as flow_rows
from transport.repository import zones as repository
from transport.warnings import Rule

SINCE_EVER = datetime(1900, 1, 1, tzinfo=UTC)
CAPACITY_MAX = 100_000_000


@dataclass(frozen=True, slots=True)
class Capacity:
    """Whole people, and the lines of arithmetic that led there."""

    instantaneous: int
    daily: int | None
    lines: list[shapes.Name]


def worked_out(policy: shapes.CapacityPolicyIn) -> Capacity:
    """The capacities a policy amounts to."""
    arithmetic = policy.arithmetic
    if arithmetic is None:
        assert policy.capacity is not None
        base, daily = Fraction(policy.capacity), None
        lines = [
            _line(f"瞬时承载量核定为 {policy.capacity:,} 人", f"Capacity fixed at {policy.capacity:,} people")
        ]
    else:
        base, lines = _instantaneous(arithmetic)
        daily, more = _daily(arithmetic, base)
        lines += more
    if policy.multiplier != 1:
        base *= Fraction(policy.multiplier)
        daily = None if daily is None else daily * Fraction(policy.multiplier)
        lines.append(
            _line(
                f"按 {policy.multiplier:%} 执行：{_shown(base)} → {int(base):,} 人",
                f"{policy.multiplier:%} of it may be used: {_shown(base)} → {int(base):,} people",
            )
        )
    return Capacity(int(base), None if daily is None else int(daily), lines)


def _instantaneous(arithmetic: shapes.Arithmetic) -> tuple[Fraction, list[shapes.Name]]:
    parts = [Fraction(s.effective_area_m2) / Fraction(s.m2_per_visitor) for s in arithmetic.spaces]
    total = sum(parts, Fraction(0))
    terms = " + ".join(f"{_plain(s.effective_area_m2)}/{_plain(s.m2_per_visitor)}" for s in arithmetic.spaces)
    figures = f"C1 = ΣXi/Yi = {terms} = {_shown(total)} → {int(total):,}"
    return total, [
        _line(f"瞬时承载量（LB/T 034-2014）{figures} 人", f"Instantaneous (LB/T 034-2014) {figures} people")
    ]


def _daily(arithmetic: shapes.Arithmetic, base: Fraction) -> tuple[Fraction | None, list[shapes.Name]]:
    if arithmetic.opening_hours is None or arithmetic.mean_stay_hours is None:
        return None, []
    ratio = Fraction(arithmetic.opening_hours) / Fraction(arithmetic.mean_stay_hours)
    forms = {"ratio": base * ratio, "whole": base * int(ratio)}
    hours = f"{_plain(arithmetic.opening_hours)}/{_plain(arithmetic.mean_stay_hours)}"
    factors = {
        "ratio": f"T/t = {_shown(base)} × {hours}",
        "whole": f"Int(T/t) = {_shown(base)} × {int(ratio)}",
    }
    shown = {
        form: f"C2 = C1 × {factors[form]} = {_shown(people)} → {int(people):,}"
        for form, people in forms.items()
    }
    lines = [
        _line(
            f"日承载量 {shown[form]} 人{'（采用）' if form == arithmetic.turnover else ''}",
            f"Daily {shown[form]} people{' (used)' if form == arithmetic.turnover else ''}",
        )
        for form in ("ratio", "whole")
    ]
    return forms[arithmetic.turnover], lines


def _line(zh: str, en: str) -> shapes.Name:
    return shapes.Name.model_construct(zh=zh, en=en)


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _shown(value: Fraction) -> str:
    """Two decimals, cut and not rounded: what is shown must not exceed what is."""
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return _plain(exact.quantize(Decimal("0.01"), ROUND_FLOOR))


def rule_of(id: UUID, capacity: int, content: dict[str, Any]) -> Rule:
    """The state machine's form of a stored policy."""
    policy = shapes.CapacityPolicyIn.model_validate(content)
    percents = (policy.levels.yellow, policy.levels.orange, policy.levels.red)
    raise_at = [_people(capacity, percent) for percent in percents]
    keep_at = [_people(capacity, percent - policy.hysteresis) for percent in percents]
    up = policy.dwell_up
    return Rule(
        policy=id,
        capacity=capacity,
        raise_at=(raise_at[0], raise_at[1], raise_at[2]),
        keep_at=(keep_at[0], keep_at[1], keep_at[2]),
        dwell_up=(up, up, 1 if policy.red_at_once else up),
        dwell_down=policy.dwell_down,
    )


def _people(capacity: int, percent: Decimal) -> int:
    """The smallest whole number of people that is at least this share."""
    return -(-capacity * int(percent * 10) // 1000)


async def set_policy(
    tx: Transaction, *, zone: str, policy: shapes.CapacityPolicyIn, now: datetime
) -> tuple[shapes.CapacityPolicy, bool]:
    """Puts a policy in force from its time on. Sent again unchanged it is the one that stands.

    Returns:
        The policy, and whether it is new.

    Raises:
        Problem: 422 for one that contradicts itself, 409 when it would begin before one already set.
    """
    _check(policy)
    capacity = worked_out(policy)
    if not 1 <= capacity.instantaneous <= CAPACITY_MAX:
        raise _wrong(
            "capacity", f"the capacity comes to {capacity.instantaneous} people; it must be 1 or more"
        )
    await flow_rows.lock_zones(tx, [zone])
    latest = await repository.latest_policy(tx, zone)
    content = policy.model_dump(mode="json", by_alias=True, exclude={"valid_from"})
    if latest and latest["content"] == content and policy.valid_from in {None, latest["valid_from"]}:
        return policy_shape(latest), False
    begins = policy.valid_from or (now if latest else SINCE_EVER)
    if latest and begins <= latest["valid_from"]:
        raise conflict(
            "policy_order",
            f"a policy of {zone} already begins {latest['valid_from'].isoformat()}; a new one begins later",
            Fault("begins too early", field="from", value=begins.isoformat()),
        )
    id = uuid7()
    await repository.insert_policy(
        tx,
        id=id,
        zone=zone,
        valid_from=begins,
        capacity=capacity.instantaneous,
        content=content,
        set_by=tx.principal.client_id or tx.principal.subject if tx.principal else "transport",
    )
    row = await repository.latest_policy(tx, zone)
    assert row is not None
    return policy_shape(row), True


def _check(policy: shapes.CapacityPolicyIn) -> None:
    if (policy.capacity is None) == (policy.arithmetic is None):
        raise _wrong("capacity", "give either the capacity or the arithmetic it follows from")
    levels = policy.levels
    if not levels.yellow < levels.orange < levels.red:
        raise _wrong("levels", "the levels must rise: yellow < orange < red")
    if policy.hysteresis >= levels.yellow:
        raise _wrong(
            "hysteresis", f"the hysteresis must be less than the yellow level, {levels.yellow} points"
        )
    arithmetic = policy.arithmetic
    if arithmetic and (arithmetic.opening_hours is None) != (arithmetic.mean_stay_hours is None):
        raise _wrong(
            "arithmetic", "the daily capacity needs opening_hours and mean_stay_hours, both or neither"
        )


def _wrong(field: str, message: str) -> Problem:
    return unprocessable("invalid_policy", message, Fault(message, field=field, path=f"$.{field}"))


async def policy_in_force(db: Connection, *, zone: str, at: datetime) -> shapes.CapacityPolicy:
    """Raises Problem 404 where no policy holds at that time."""
    row = await repository.policy_at(db, zone, at)
    if row is None:
        raise not_found(f"zone {zone} has no capacity policy in force at {at.isoformat()}", code="no_policy")
    return policy_shape(row)


def policy_shape(row: Row) -> shapes.CapacityPolicy:
    policy = shapes.CapacityPolicyIn.model_validate(row["content"])
    capacity = worked_out(policy)
    rule = rule_of(row["id"], row["capacity"], row["content"])
    percents = (policy.levels.yellow, policy.levels.orange, policy.levels.red)
    return shapes.CapacityPolicy(
        id=row["id"],
        zone=row["zone"],
        valid_from=None if row["valid_from"] == SINCE_EVER else row["valid_from"],
        capacity=row["capacity"],
        daily_capacity=capacity.daily,
        multiplier=policy.multiplier,
        levels={
            name: shapes.Threshold(percent=percent, raise_at=up, keep_at=keep)
            for name, percent, up, keep in zip(
                ("yellow", "orange", "red"), percents, rule.raise_at, rule.keep_at, strict=True
            )
        },
        dwell_up=policy.dwell_up,
        dwell_down=policy.dwell_down,
        hysteresis=policy.hysteresis,
        red_at_once=policy.red_at_once,
        basis=policy.basis,
        arithmetic=capacity.lines,
    )
