"""Quiet hours: when a person is told only what is urgent, by the clock where they are."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.kit.database import Connection, Transaction
from services.kit.principals import Principal
from services.kit.problems import Fault, unprocessable
from services.notify.duty_shapes import QuietHours
from services.notify.recipients import recipient_of, recipients_of
from services.notify.repository import notifications as repository

A_DAY = timedelta(days=1)


def quiet_until(at: datetime, hours: QuietHours) -> datetime | None:
    """The end of the quiet hours in which the moment lies; None outside of them.

    Hours that end before they begin go on over midnight. An hour that the clock skips or repeats counts as
    the zone has it (PEP 495).
    """
    zone = ZoneInfo(hours.time_zone)
    today = at.astimezone(zone).date()
    for day in (today - A_DAY, today):
        begins = datetime.combine(day, hours.starts, zone).astimezone(UTC)
        last = day if hours.starts < hours.ends else day + A_DAY
        ends = datetime.combine(last, hours.ends, zone).astimezone(UTC)
        if begins <= at < ends:
            return ends
    return None


async def mine(db: Connection, who: Principal) -> QuietHours | None:
    rows = await repository.quiet_hours(db, recipients_of(who))
    return next((QuietHours(**row) for row in rows.values()), None)


async def put(tx: Transaction, who: Principal, hours: QuietHours) -> QuietHours:
    """Raises Problem 422 for a zone there is not, or hours that are none."""
    try:
        ZoneInfo(hours.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        words = f"{hours.time_zone[:60]!r} is no time zone of the IANA database, as Asia/Shanghai"
        raise unprocessable("unknown_time_zone", words, Fault(words, field="time_zone")) from error
    if hours.starts == hours.ends or hours.starts.tzinfo or hours.ends.tzinfo:
        words = "quiet hours begin and end at two different times of the day, as 22:00 and 07:00"
        raise unprocessable("invalid_hours", words, Fault(words, field="ends"))
    await repository.put_quiet_hours(tx, recipient_of(who), hours.starts, hours.ends, hours.time_zone)
    return hours


async def remove(tx: Transaction, who: Principal) -> None:
    await repository.delete_quiet_hours(tx, recipients_of(who))
