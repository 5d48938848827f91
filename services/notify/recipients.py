"""By which id notify knows whom it tells: a person by this sector's, staff by their account."""

from services.kit.principals import Principal
from services.kit.problems import forbidden


def recipients_of(who: Principal) -> tuple[str, ...]:
    """The caller's ids, the one that is given out now first.

    Raises:
        Problem: 403, the caller is nobody who could be told.
    """
    if who.kind == "staff":
        return (who.subject,)
    if who.kind == "person" and who.sector_ids:
        return who.sector_ids
    raise forbidden("notifications are for people who signed in", code="not_a_person")


def recipient_of(who: Principal) -> str:
    """The id the caller's own settings are kept under. Raises Problem 403, as `recipients_of`."""
    return recipients_of(who)[0]
