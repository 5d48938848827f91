"""What the plants do to one person's rows: wrongs, and what looks like them and is none.

Each deed changes the rows in place and gives back the keys of those it is about; nothing, where the person
has no rows for it.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from city.institutions import Institutions
from city.people import Person
from city.population import Population
from city.social import (
    Claim,
    ClaimLine,
    Contribution,
    Month,
    Payment,
    SocialRecords,
    day_in,
    key,
    month_of,
    months_after,
    period,
    yuan,
)

Keys = list[str]
_RESIDENT_PENSION = "312.00"


@dataclass(frozen=True, slots=True)
class Scene:
    population: Population
    institutions: Institutions
    now: Month


# Payments after a death.


def pay_on(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """Nobody reported the death: the pension goes on for one to six months."""
    last = _last_pension(records)
    if last is None or person.death is None:
        return []
    found = []
    for ahead in range(1, 2 + person.index % 6):
        month = months_after(month_of(person.death), ahead)
        if month <= scene.now:
            payment = last._replace(
                payment_id=last.payment_id.replace(last.period, period(month)),
                period=period(month),
                paid_on=day_in(month, 15),
            )
            records.payments.append(payment)
            found.append(key(payment))
    return found


def pay_late(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """A rise agreed late: arrears for the month of death, paid out to the heirs two months on."""
    last = _last_pension(records)
    if last is None or person.death is None:
        return []
    paid_on = day_in(months_after(month_of(person.death), 2), 18)
    payment = last._replace(payment_id=f"{last.payment_id}-arrears", amount="126.00", paid_on=paid_on)
    records.payments.append(payment)
    return [key(last), key(payment)]


def pay_widow(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """No change: the widow's own pension goes on into the account both had. The rows are among hers."""
    if person.death is None or person.spouse is None:
        return []
    spouse = scene.population.people[person.spouse]
    months = []
    month = months_after(month_of(person.death), 1)
    while month <= scene.now:
        months.append(month)
        month = months_after(month, 1)
    return [f"payment P-{spouse.code}-{period(month)}-{spouse.pension}" for month in months]


# Charges.


def charge_twice(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """The same service entered again at the end of the bill."""
    claim, lines = longest_bill(records)
    if claim is None:
        return []
    again = lines[-1]._replace(line_no=str(len(lines) + 1))
    _add_line(records, claim, again)
    return [key(lines[-1]), key(again)]


def claim_twice(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """The whole bill handed in again under a new number."""
    claim, lines = longest_bill(records)
    if claim is None:
        return []
    again = claim._replace(claim_id=f"{claim.claim_id}-B")
    copies = [line._replace(claim_id=again.claim_id) for line in lines]
    records.claims.append(again)
    records.claim_lines.extend(copies)
    return [key(line) for line in (*lines, *copies)]


def charge_daily(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """A course of treatment: the same service on the day before as well."""
    claim, lines = longest_bill(records)
    if claim is None:
        return []
    last = lines[-1]
    first = min(date.fromisoformat(line.service_date) for line in lines if line.item_code == last.item_code)
    before = (first - timedelta(days=1)).isoformat()
    other = last._replace(line_no=str(len(lines) + 1), service_date=before)
    _add_line(records, claim, other)
    return [key(last), key(other)]


def charge_by_two(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """Seen at two providers on one day: one refers on, and both charge for their visit."""
    claim, lines = longest_bill(records)
    if claim is None:
        return []
    elsewhere = next(
        alliance.hospital.code
        for alliance in scene.institutions.alliances
        if claim.provider_uscc not in [provider.code for provider in alliance.providers()]
    )
    line = lines[0]._replace(claim_id=f"{claim.claim_id}-R", line_no="1")
    other = claim._replace(
        claim_id=line.claim_id, provider_uscc=elsewhere, admitted_on="", discharged_on="", total=line.amount
    )
    records.claims.append(other)
    records.claim_lines.append(line)
    return [key(lines[0]), key(line)]


def count_two(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """Two of the same on one line, as it should be written."""
    claim, lines = longest_bill(records)
    if claim is None:
        return []
    last = lines[-1]
    doubled = last._replace(quantity=str(int(last.quantity) * 2), amount=yuan(_fen(last.amount) * 2))
    records.claim_lines[records.claim_lines.index(last)] = doubled
    _set_total(records, claim, _fen(claim.total) + _fen(last.amount))
    return [key(doubled)]


def charge_otherwise(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """The same item in another size: another price, so another thing."""
    claim, lines = longest_bill(records)
    if claim is None:
        return []
    price = yuan(_fen(lines[-1].unit_price) + 50)
    other = lines[-1]._replace(line_no=str(len(lines) + 1), quantity="1", unit_price=price, amount=price)
    _add_line(records, claim, other)
    return [key(lines[-1]), key(other)]


# Benefits side by side.


def draw_two(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """A resident pension beside the employee one, for three to eight months."""
    found = []
    for payment in _pensions(records)[-(3 + person.index % 6) :]:
        second = _as_resident(payment)._replace(paid_on=payment.paid_on[:-2] + "08")
        records.payments.append(second)
        found += [key(payment), key(second)]
    return found


def change_over(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """Drew the resident pension until the employee one was granted: month after month, never both."""
    pensions = _pensions(records)
    earlier, later = pensions[: len(pensions) // 2], pensions[len(pensions) // 2 :]
    for payment in earlier:
        records.payments[records.payments.index(payment)] = _as_resident(payment)
    return [key(_as_resident(earlier[-1])), key(later[0])] if earlier else []


def pay_in_parts(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """Two payments of one pension for one month: the monthly one, and a rise paid after it."""
    last = _last_pension(records)
    if last is None:
        return []
    rise = last._replace(
        payment_id=f"{last.payment_id}-rise", amount="98.00", paid_on=last.paid_on[:-2] + "26"
    )
    records.payments.append(rise)
    return [key(last), key(rise)]


def insure_jobless(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """At work again, and still drawing: the new employer's contributions come in month by month."""
    found = []
    for payment in _benefits(records)[1:]:
        contribution = _new_job(scene, person, payment, declared_on=payment.paid_on[:-2] + "12")
        records.contributions.append(contribution)
        found += [key(payment), key(contribution)]
    return found


def insured_by_fund(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """No change: the fund pays for health insurance while the benefit runs, as it does for everyone."""
    benefits = _benefits(records)
    months = {payment.period for payment in benefits}
    medical = [c for c in records.contributions if c.scheme == "employee_medical" and c.period in months]
    return [*map(key, benefits), *map(key, medical)]


def declare_later(scene: Scene, person: Person, records: SocialRecords) -> Keys:
    """Found work late in the last month of the benefit; the employer declared it after that was paid."""
    benefits = _benefits(records)
    if not benefits:
        return []
    contribution = _new_job(scene, person, benefits[-1], declared_on=benefits[-1].paid_on[:-2] + "27")
    records.contributions.append(contribution)
    return [key(benefits[-1]), key(contribution)]


def longest_bill(records: SocialRecords) -> tuple[Claim | None, list[ClaimLine]]:
    """The bill with most lines; the later one of equals."""
    lines: dict[str, list[ClaimLine]] = {claim.claim_id: [] for claim in records.claims}
    for line in records.claim_lines:
        lines[line.claim_id].append(line)
    best = max(records.claims, key=lambda claim: (len(lines[claim.claim_id]), claim.claimed_on), default=None)
    return (best, lines[best.claim_id]) if best is not None else (None, [])


def _pensions(records: SocialRecords) -> list[Payment]:
    return [payment for payment in records.payments if payment.benefit == "pension"]


def _last_pension(records: SocialRecords) -> Payment | None:
    return next(reversed(_pensions(records)), None)


def _benefits(records: SocialRecords) -> list[Payment]:
    return [payment for payment in records.payments if payment.benefit == "unemployment_benefit"]


def _as_resident(payment: Payment) -> Payment:
    return payment._replace(
        payment_id=payment.payment_id.replace("employee", "resident"),
        scheme="resident_pension",
        amount=_RESIDENT_PENSION,
    )


def _new_job(scene: Scene, person: Person, payment: Payment, *, declared_on: str) -> Contribution:
    employer = scene.institutions.companies[person.index % len(scene.institutions.companies)]
    return Contribution(
        contribution_id=f"C-{person.code}-{payment.period}-employee_pension-again",
        citizen_number=person.number,
        name=person.name.text,
        employer_uscc=employer.code,
        scheme="employee_pension",
        area=employer.area,
        period=payment.period,
        base="4986.00",
        amount="1196.64",
        currency=payment.currency,
        declared_on=declared_on,
    )


def _add_line(records: SocialRecords, claim: Claim, line: ClaimLine) -> None:
    records.claim_lines.append(line)
    _set_total(records, claim, _fen(claim.total) + _fen(line.amount))


def _set_total(records: SocialRecords, claim: Claim, fen: int) -> None:
    records.claims[records.claims.index(claim)] = claim._replace(total=yuan(fen))


def _fen(amount: str) -> int:
    return int(amount.replace(".", ""))
