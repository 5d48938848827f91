"""Deaths pushed by the exchange: kept, so that an audit need not fetch those of everybody each time."""

from services.kit.database import Transaction
from services.kit.problems import unprocessable
from services.kit.subscriptions import Batch
from social_security.repository import told
from social_security.snapshot import day_of


async def take_deaths(tx: Transaction, batch: Batch) -> None:
    """Applies a batch.

    Raises:
        Problem: 422 `no_death_date` when the agreement leaves out what this is about.
    """
    rows = batch.standing()
    if any(not row.get("death_date") for row in rows):
        raise unprocessable("no_death_date", "deaths are taken with death_date; the agreement leaves it out")
    if batch.first:
        await told.forget(tx, batch.agreement)
    await told.forget(tx, batch.agreement, batch.gone())
    people = [str(row[batch.sector_id]) for row in rows]
    await told.keep(tx, batch.agreement, people, [day_of(str(row["death_date"])) for row in rows])
