"""What a channel is given, and what it says came of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from services.notify.channels.guard import Answer

RETRY_AFTER_MAX_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing to be told at one destination.

    Attributes:
        told: its id, the same at every attempt.
        target: the destination's address, keys and secrets, unsealed.
        language: in which the recipient reads.
        words: title and body by language.
        event: CloudEvents form.
    """

    destination: UUID
    told: UUID
    fact: str
    target: dict[str, Any]
    language: str
    words: dict[str, tuple[str, str]]
    event: dict[str, Any]
    urgent: bool
    raised_at: datetime

    @property
    def said(self) -> tuple[str, str]:
        """Title and body in the recipient's language."""
        return self.words[self.language]


class Outcome(StrEnum):
    DELIVERED = "delivered"
    AGAIN = "again"
    DEAD = "dead"
    GONE = "gone"
    """Nobody is there any more: the destination ends, too."""
    CLOSED = "closed"
    """The receiver wants nothing more: the destination is disabled."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one attempt.

    Attributes:
        reason: why not, for the owner; holds nothing of the address.
        rest_s: how long the receiver asks to be left alone.
    """

    outcome: Outcome
    reason: str | None = None
    rest_s: float | None = None


DELIVERED = Result(Outcome.DELIVERED)


def result_of(answer: Answer) -> Result:
    """What an HTTP answer means: 2xx took it; all else did not. A redirect is not followed."""
    if 200 <= answer.status < 300:
        return DELIVERED
    reason = f"answered {answer.status}"
    if 300 <= answer.status < 400:
        reason += ", a redirect, which is not followed"
    return Result(Outcome.AGAIN, reason, retry_after_s(answer))


def retry_after_s(answer: Answer) -> float | None:
    """Retry-After in seconds (RFC 9110 section 10.2.3), at most a day."""
    said = (answer.retry_after or "").strip()
    if said.isascii() and said.isdigit() and len(said) < 10:
        return min(float(said), RETRY_AFTER_MAX_S)
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return None
    seconds = (at.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def shortened(text: str, limit_bytes: int) -> str:
    """The text in so many bytes of UTF-8, with an ellipsis where something is left out."""
    raw = text.encode()
    if len(raw) <= limit_bytes:
        return text
    return raw[: limit_bytes - 3].decode(errors="ignore") + "…"
