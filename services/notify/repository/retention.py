"""Deleting what is over, as the chores of the kit do it: each statement a chunk of at most $1 rows."""

from collections.abc import Mapping

_OPEN = "select fact from escalation where over_at is null"


def statements(days: Mapping[str, int]) -> dict[str, str]:
    """By what they delete, in the order in which it can go: what refers to others before them.

    Args:
        days: how long each is kept once it is over; nothing of a fact that is not over goes at all.
    """
    return {
        "delivery": _deliveries("'delivered', 'stopped'", days["deliveries"]),
        "dead_delivery": _deliveries("'dead'", days["dead_letters"]),
        "told": f"""delete from told where id = any(array(
            select id from told where raised_at < {_before(days["deliveries"])}
                and not exists (select from delivery where told = told.id) limit $1))""",
        "notification": f"""delete from notification where id = any(array(
            select id from notification where sent_at < {_before(days["notifications"])}
                and fact not in ({_OPEN}) limit $1))""",
        "message": f"""delete from message where seq = any(array(
            select seq from message where recorded_at < {_before(days["messages"])}
                and event_id not in (select (event ->> 'id')::uuid from escalation where over_at is null)
            limit $1))""",
        "escalation": f"""delete from escalation where fact = any(array(
            select fact from escalation where over_at < {_before(days["escalations"])} and next_at is null
                and not exists (select from notification where notification.fact = escalation.fact)
            limit $1))""",
    }


def _deliveries(states: str, days: int) -> str:
    return f"""delete from delivery where id = any(array(
        select delivery.id from delivery join told on told.id = delivery.told
        where next_at is null and state in ({states}) and timed_at < {_before(days)}
            and fact not in ({_OPEN}) limit $1))"""


def _before(days: int) -> str:
    return f"now() - interval '{days:d} days'"
