"""Sending what is due, as any process of the service may: claimed under a lease, sent, and noted.

An attempt that nobody notes, because its process was killed, is made again under the same id once its lease
is over: at least once. Each round writes what came of attempts and claims new ones, all of them together, so
that the number of commits does not grow with that of deliveries. A destination has a few in flight at most,
and one that fails only a probe now and then, so that it holds up nobody else.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from uuid import UUID

import aiohttp

from services.kit import telemetry
from services.kit.app import Kit
from services.kit.database import Row
from services.kit.waking import stopped, wait, wake, woken
from services.notify import destinations, disabling, templates
from services.notify.channels import push, robots, webhooks
from services.notify.channels.attempt import Errand, Outcome, Result
from services.notify.channels.email import Mailer
from services.notify.channels.guard import Guard, Outgoing, RefusedAddressError
from services.notify.deliveries import DUE
from services.notify.repository import deliveries as repository

IN_FLIGHT = 256
EACH = 16
"""In flight at most: in all, and to one destination."""
WINDOW = 2000
GATHER_S = 0.01
LOOK_EVERY_S = 1.0
ATTEMPT_S = 20.0
LEASE_S = 30.0
"""Longer than any attempt takes."""
ATTEMPTS = 12
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 6 * 3600.0
"""Each pause is four times the one before: twelve attempts take a day."""
OPENED_KEPT = 2000
CLOCK_CHECKED_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class _Done:
    """One attempt and what came of it."""

    row: Row
    result: Result


def pause_s(attempts: int) -> float:
    """Before the next attempt: exponential, and spread by up to half, so that not all come back at once."""
    longest = min(FIRST_PAUSE_S * 4.0 ** (attempts - 1), LONGEST_PAUSE_S)
    return longest * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, no secret


def following(result: Result, attempts: int) -> tuple[Literal["delivered", "waiting", "dead"], float | None]:
    """What becomes of what was tried so often, and the pause before the next attempt."""
    if result.outcome is Outcome.DELIVERED:
        return "delivered", None
    if result.outcome is Outcome.AGAIN and attempts < ATTEMPTS:
        return "waiting", max(pause_s(attempts), result.rest_s or 0.0)
    return "dead", None


async def check_settings(kit: Kit) -> None:
    """Raises ValueError when a setting names no receivers, or no mail server, that could be one."""
    Guard(kit.settings.webhook_allow)
    if kit.settings.smtp_url:
        Mailer(kit.settings)


async def dispatch(kit: Kit) -> None:
    """Runs for as long as the service does."""
    outgoing = Outgoing(Guard(kit.settings.webhook_allow), connections=IN_FLIGHT)
    kit.parts["outgoing"] = outgoing
    dispatcher = _Dispatcher(kit, outgoing)
    try:
        with woken(DUE) as due:
            while True:
                due.clear()
                if not await dispatcher.round():
                    await wait(due, LOOK_EVERY_S)
                await asyncio.sleep(GATHER_S)
    finally:
        await dispatcher.stop()
        await outgoing.close()


class _Dispatcher:
    def __init__(self, kit: Kit, outgoing: Outgoing) -> None:
        self._kit = kit
        self._seals = destinations.seals(kit)
        self._opened: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._flying: Counter[UUID] = Counter()
        self._done: list[_Done] = []
        self._clock_checked = 0.0
        self._refusals: dict[UUID, str | None] = {}
        vapid = push.Vapid(push.vapid_key(kit.settings), f"mailto:{kit.settings.mail_from}")
        mailer = Mailer(kit.settings) if kit.settings.smtp_url else None
        self._ways: dict[str, Callable[[Errand], Awaitable[Result]]] = {
            "webhook": partial(webhooks.send, outgoing),
            "wecom": partial(robots.send_wecom, outgoing),
            "dingtalk": partial(robots.send_dingtalk, outgoing),
            "push": partial(push.send, outgoing, vapid=vapid),
        }
        if mailer:
            self._ways["email"] = mailer.send

    async def round(self) -> bool:
        """Notes what is done and begins what is due; whether there was anything to begin."""
        done, self._done = self._done, []
        # In flight until it is noted: a receiver that asks for a rest gets nothing more before we know.
        self._flying.subtract(Counter(one.row["destination"] for one in done))
        async with self._kit.db.transaction() as tx:
            if time.monotonic() - self._clock_checked > CLOCK_CHECKED_EVERY_S:
                self._clock_checked = time.monotonic()
                await repository.turned_back(tx)
            if done:
                await self._note(tx, done)
            rows = await self._claim(tx)
        for one in done:
            telemetry.deliveries.labels(one.row["channel"], one.result.outcome.value).inc()
        self._refusals.clear()
        for row in rows:
            self._flying[row["destination"]] += 1
            task = asyncio.create_task(self._attempt(row), name="notify:delivery")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return bool(rows)

    async def stop(self) -> None:
        for task in list(self._tasks):
            await stopped(task)

    async def _claim(self, tx: Any) -> list[Row]:
        free = IN_FLIGHT - len(self._tasks)
        if free <= 0:
            return []
        slow = await repository.claim_slowly(
            tx, lease_s=LEASE_S, spacing_s=robots.SPACING_S, limit=max(free // 4, 1)
        )
        return slow + await repository.claim(
            tx,
            lease_s=LEASE_S,
            flying=+self._flying,
            each=EACH,
            limit=max(free - len(slow), 0),
            window=WINDOW,
        )

    async def _attempt(self, row: Row) -> None:
        result = await self._sent(row)
        if result.outcome is Outcome.DELIVERED:
            took = datetime.now(UTC) - row["raised_at"]
            telemetry.delivery_seconds.labels(row["channel"]).observe(took.total_seconds())
        self._done.append(_Done(row, result))
        wake(DUE)

    async def _sent(self, row: Row) -> Result:
        if row["state"] not in {"active", "unverified"}:
            return Result(Outcome.DEAD, "the destination is gone")
        if row["topic"] is not None and (refused := self._refusal(row)) is not None:
            return Result(Outcome.DEAD, f"no longer permitted: {refused}")
        way = self._ways.get(row["channel"])
        if way is None:
            return Result(Outcome.AGAIN, "no mail server is set up here")
        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await way(self._errand(row))
        except TimeoutError:
            return Result(Outcome.AGAIN, "no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Result(Outcome.AGAIN, words(error))
        except Exception as error:  # noqa: BLE001 - one delivery's trouble is not the dispatcher's
            telemetry.logger("notify").error(
                "a delivery failed of an error of our own",
                extra={"delivery": row["id"], "channel": row["channel"], "error": type(error).__name__},
            )
            return Result(Outcome.AGAIN, f"an error of our own: {type(error).__name__}")

    def _refusal(self, row: Row) -> str | None:
        destination = row["destination"]
        if destination not in self._refusals:
            self._refusals[destination] = destinations.refusal(self._kit, row["holder"], row["topic"])
        return self._refusals[destination]

    def _errand(self, row: Row) -> Errand:
        target, event, words = self._target(row["target"]), row["event"], row["words"]
        if row["state"] == "unverified":
            event = {**event, "data": {"code": target["code"]}}
        if not words and row["channel"] != "webhook":
            words = templates.words_of(event)
        return Errand(
            destination=row["destination"],
            told=row["told"],
            fact=row["fact"],
            target=target,
            language=row["language"],
            words={language: (title, body) for language, (title, body) in words.items()},
            event=event,
            urgent=row["urgent"],
            raised_at=row["raised_at"],
        )

    def _target(self, sealed: str) -> dict[str, Any]:
        if sealed not in self._opened:
            if len(self._opened) >= OPENED_KEPT:
                self._opened.clear()
            self._opened[sealed] = self._seals.opened(sealed)
        return self._opened[sealed]

    async def _note(self, tx: Any, done: list[_Done]) -> None:
        # Destinations before their deliveries: whoever removes one locks them so.
        healths = _healths(done)
        await repository.note_health(tx, healths)
        await repository.note_outcomes(tx, [_noted(one) for one in done])
        await disabling.end(tx, _of(done, Outcome.GONE))
        await disabling.disable(tx, [id for id, well, _ in healths if not well], _of(done, Outcome.CLOSED))


def _of(done: list[_Done], outcome: Outcome) -> list[UUID]:
    return [one.row["destination"] for one in done if one.result.outcome is outcome]


def _noted(done: _Done) -> tuple[int, int, str, float | None, str | None]:
    row, result = done.row, done.result
    return row["id"], row["attempts"], *following(result, row["attempts"]), result.reason


def _healths(done: list[_Done]) -> list[tuple[UUID, bool, float]]:
    """Of each destination: whether anything was taken, and how long it asks to be left alone."""
    found: dict[UUID, tuple[bool, float]] = {}
    for one in done:
        well, rest = found.get(one.row["destination"], (False, 0.0))
        # That the one mail server is away says nothing about a mailbox.
        failed = one.result.outcome in {Outcome.AGAIN, Outcome.CLOSED}
        taken = not failed or one.row["channel"] == "email"
        found[one.row["destination"]] = well or taken, max(rest, one.result.rest_s or 0.0)
    return [(id, well, rest) for id, (well, rest) in found.items()]


def words(error: BaseException) -> str:
    """Why there was no answer, without the address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RefusedAddressError) or type(cause) is ValueError:
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return f"no connection: {type(error).__name__}"
