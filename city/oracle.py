"""The truth by brute force: what the law calls an irregularity, and a day's warnings, found with plain loops.

Written from the text of the law and of the rules in the project's contract, over finished rows. It imports no
rule, no plan of what was planted and nothing of the services, so that it is right or wrong by itself, and it
also finds what nobody planted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One irregularity, by the keys the import door carries.

    Attributes:
        evidence: `payment <payment_id>`, `contribution <contribution_id>`, `claim_line <claim_id> <line_no>`.
    """

    rule: str
    form: str
    citizen_number: str
    evidence: tuple[str, ...]
    amount_at_risk: Decimal
    currency: str


def payments_after_death(payments: Iterable[Row], deaths: Mapping[str, date]) -> list[Finding]:
    """死亡冒领: a benefit for a month after the month of death.

    社会保险法 (2018 version) article 14 leaves what remains of a personal account to the heirs, and ends the
    pension itself with the person; article 88 orders benefits obtained by fraud to be returned. A pension is
    granted by the month, so the month of death is still due in full, whenever it is paid out; so are arrears
    for any month up to it. Every payment for a later month is one finding, at its whole amount.
    """
    found = []
    for payment in payments:
        died = deaths.get(payment["citizen_number"])
        if died is None or Decimal(payment["amount"]) <= 0:
            continue
        year, month = payment["period"].split("-")
        if (int(year), int(month)) > (died.year, died.month):
            found.append(
                Finding(
                    "payment_after_death",
                    "payment_after_death",
                    payment["citizen_number"],
                    (f"payment {payment['payment_id']}",),
                    Decimal(payment["amount"]),
                    payment["currency"],
                )
            )
    return found


def duplicate_charges(claims: Iterable[Row], lines: Sequence[Row]) -> list[Finding]:
    """重复收费: one service charged more than once.

    医疗保障基金使用监督管理条例 (国令第735号) article 15 forbids institutions to charge the same
    thing again (不得重复收费); article 38 has the fund's losses returned. The same thing is: same person,
    same provider, same item, same day of service, same price, on two or more lines, of one claim or of
    several. Two of something on one line, the next day, another provider or another price are something
    else. At risk is what goes beyond the largest of the lines.
    """
    of = {claim["claim_id"]: claim for claim in claims}
    found, done = [], set()
    for at, line in enumerate(lines):
        if at in done or Decimal(line["unit_price"]) <= 0 or Decimal(line["amount"]) <= 0:
            continue
        claim = of[line["claim_id"]]
        same = [at]
        for other_at in range(at + 1, len(lines)):
            other = lines[other_at]
            other_claim = of[other["claim_id"]]
            if (
                other_claim["citizen_number"] == claim["citizen_number"]
                and other_claim["provider_uscc"] == claim["provider_uscc"]
                and other["item_code"] == line["item_code"]
                and other["service_date"] == line["service_date"]
                and Decimal(other["unit_price"]) == Decimal(line["unit_price"])
                and other["currency"] == line["currency"]
                and Decimal(other["amount"]) > 0
            ):
                same.append(other_at)
        if len(same) > 1:
            done.update(same)
            amounts = [Decimal(lines[place]["amount"]) for place in same]
            found.append(
                Finding(
                    "duplicate_charge",
                    "duplicate_charge",
                    claim["citizen_number"],
                    tuple(sorted(f"claim_line {lines[p]['claim_id']} {lines[p]['line_no']}" for p in same)),
                    sum(amounts, Decimal(0)) - max(amounts),
                    line["currency"],
                )
            )
    return found


def two_pensions(payments: Sequence[Row]) -> list[Finding]:
    """待遇叠加, first form: the employee pension and the resident pension for one month.

    城乡养老保险制度衔接暂行办法 (人社部发〔2014〕17号) article 8: nobody may draw both at the same time; the
    resident pension ends, and what was drawn of it is returned. One finding for each person and month, over
    all payments of the two pensions for it; at risk is the resident pension. Two payments of the same pension
    for a month are no matter of this rule, nor is a change from one to the other between two months.
    """
    found, done = [], set()
    for payment in payments:
        key = (payment["citizen_number"], payment["period"], payment["currency"])
        if key in done or not _is_pension(payment, "resident_pension"):
            continue
        resident = [
            other
            for other in payments
            if _is_pension(other, "resident_pension")
            and (other["citizen_number"], other["period"], other["currency"]) == key
        ]
        employee = [
            other
            for other in payments
            if _is_pension(other, "employee_pension")
            and (other["citizen_number"], other["period"]) == key[:2]
        ]
        if employee:
            done.add(key)
            found.append(
                Finding(
                    "incompatible_benefits",
                    "two_pensions",
                    payment["citizen_number"],
                    tuple(sorted(f"payment {row['payment_id']}" for row in (*resident, *employee))),
                    sum((Decimal(row["amount"]) for row in resident), Decimal(0)),
                    payment["currency"],
                )
            )
    return found


def _is_pension(payment: Row, scheme: str) -> bool:
    return payment["benefit"] == "pension" and payment["scheme"] == scheme and Decimal(payment["amount"]) > 0


def unemployed_and_insured(payments: Iterable[Row], contributions: Sequence[Row]) -> list[Finding]:
    """待遇叠加, second form: unemployment benefit for a month in which an employer paid contributions.

    社会保险法 article 51 (1): the benefit ends with new employment. The sign of employment is a contribution
    to the employee pension for the same month, declared no later than the benefit was paid: of one declared
    afterwards nobody could know. Contributions to employee medical insurance are none, for article 48 has the
    unemployment fund pay them. One finding for each payment, at its whole amount.
    """
    found = []
    for payment in payments:
        if payment["benefit"] != "unemployment_benefit" or Decimal(payment["amount"]) <= 0:
            continue
        working = [
            contribution
            for contribution in contributions
            if contribution["citizen_number"] == payment["citizen_number"]
            and contribution["scheme"] == "employee_pension"
            and contribution["period"] == payment["period"]
            and Decimal(contribution["amount"]) > 0
            and contribution["declared_on"] <= payment["paid_on"]
        ]
        if working:
            evidence = [f"payment {payment['payment_id']}"]
            evidence += [f"contribution {row['contribution_id']}" for row in working]
            found.append(
                Finding(
                    "incompatible_benefits",
                    "unemployed_and_insured",
                    payment["citizen_number"],
                    tuple(sorted(evidence)),
                    Decimal(payment["amount"]),
                    payment["currency"],
                )
            )
    return found


def findings(
    *,
    contributions: Sequence[Row],
    payments: Sequence[Row],
    claims: Sequence[Row],
    claim_lines: Sequence[Row],
    deaths: Mapping[str, date],
) -> list[Finding]:
    """All three rules. Each compares rows of one person only, so rows may come person by person."""
    return [
        *payments_after_death(payments, deaths),
        *duplicate_charges(claims, claim_lines),
        *two_pensions(payments),
        *unemployed_and_insured(payments, contributions),
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """A warning raised, changed or ended: at the end of which minute, and with how many people inside."""

    episode: int
    kind: str
    level: str
    at: int
    people: int


def episodes(
    inside: Sequence[int],
    *,
    capacity: int,
    levels: Mapping[str, int],
    dwell_up: int,
    dwell_down: int,
    hysteresis: int,
) -> list[Step]:
    """The warnings of one zone, from the people in it at the end of each minute.

    LB/T 034-2014 and the practice of scenic areas: notice at 80 % of what the zone may hold, 90 %, and stop
    at 100 %. A level is reached after `dwell_up` minutes in a row at or over it, the highest one at once. It
    is left after `dwell_down` minutes in a row more than `hysteresis` points under it, for the highest level
    that has not been left as well.
    """
    names = sorted(levels, key=lambda name: levels[name])
    steps: list[Step] = []
    level, episode = -1, 0
    for at, people in enumerate(inside):
        reached = -1
        for place, name in enumerate(names):
            needed = 1 if place == len(names) - 1 else dwell_up
            recent = inside[at + 1 - needed : at + 1] if at + 1 >= needed else []
            if recent and all(count * 100 >= capacity * levels[name] for count in recent):
                reached = place
        stays = -1
        for place, name in enumerate(names[: level + 1]):
            recent = inside[at + 1 - dwell_down : at + 1] if at + 1 >= dwell_down else []
            if not recent or any(count * 100 >= capacity * (levels[name] - hysteresis) for count in recent):
                stays = place
        target = reached if reached > level else stays
        if target == level:
            continue
        episode += level == -1
        kind = "raised" if level == -1 else "ended" if target == -1 else "changed"
        steps.append(Step(episode, kind, "normal" if target == -1 else names[target], at, people))
        level = target
    return steps
