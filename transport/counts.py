"""Manual counts: how many people are in a zone, said by somebody who knows. Each is an anchor."""

from datetime import datetime
from typing import Any

from services.kit.database import Transaction
from services.kit.principals import Principal
from services.kit.problems import Fault, Problem, bad_request, unprocessable
from transport import shapes, zones
from transport.checks import FUTURE_SKEW, Refused, count_of, members_of, time_of
from transport.flows import apply_counts

COUNTS_MAX = 1_000
PEOPLE_MAX = 100_000_000
MEMBERS = ("time", "count")


async def take_counts(
    tx: Transaction, *, zone: str, document: Any, who: Principal, now: datetime
) -> shapes.CountReceipt:
    """One push of counts: `{"time", "count"}`, an array of them, or `{"counts": […]}`; all or nothing.

    Counts may be of any age, unlike readings: a list kept on paper is typed in later, and a zone's history is
    loaded once. They may not lie in the future.

    Raises:
        Problem: 404 or 403 for the zone, 413 for too many, 422 naming each count and member that is wrong,
            409 when another number was counted at the same time.
    """
    await zones.check_may_count(tx, zone=zone, who=who)
    counts = _checked(document, now)
    done = await apply_counts(tx, zone=zone, counts=counts, by=who.client_id or who.subject)
    return shapes.CountReceipt(
        zone=zone, accepted=done.accepted, duplicates=done.duplicates, occupancy=done.people
    )


def _checked(document: Any, now: datetime) -> list[tuple[datetime, int]]:
    values, path = _values_of(document)
    found: list[tuple[datetime, int]] = []
    faults: list[Fault] = []
    for index, value in enumerate(values):
        try:
            found.append(_check(value, now))
        except Refused as why:
            where = path.format(index)
            faults.append(
                Fault(
                    why.message,
                    path=f"{where}.{why.member}" if why.member else where,
                    field=why.member,
                    code=why.code,
                )
            )
    if faults:
        code = str(faults[0].code) if len({fault.code for fault in faults}) == 1 else "unacceptable_counts"
        raise unprocessable(code, f"{faults[0].path}: {faults[0].message}. Nothing was applied", *faults)
    return found


def _values_of(document: Any) -> tuple[list[Any], str]:
    if isinstance(document, list):
        values, path = document, "$[{}]"
    elif (
        isinstance(document, dict) and document.keys() == {"counts"} and isinstance(document["counts"], list)
    ):
        values, path = document["counts"], "$.counts[{}]"
    else:
        values, path = [document], "$"
    if not values:
        raise bad_request("empty_push", "there are no counts in the body")
    if len(values) > COUNTS_MAX:
        raise Problem(
            413, "too_many_counts", f"{len(values)} counts in one push; send at most {COUNTS_MAX:,}"
        )
    return values, path


def _check(value: Any, now: datetime) -> tuple[datetime, int]:
    value = members_of(value, MEMBERS, frozenset(MEMBERS), "count")
    at = time_of(value["time"], "time")
    if at > now + FUTURE_SKEW:
        raise Refused("future_count", "the count lies in the future; check the clock", "time")
    return at, count_of(value["count"], "count", PEOPLE_MAX)
