"""What a push means for Subscriptions, in its own commit: those it brings or ends, and that there is
something to look at for the others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from health.fhir.outcome import refused
from health.fhir.scopes import granted
from health.fhir.subscriptions.asked import Asked, asked
from health.fhir.subscriptions.topics import topics
from health.repository import subscriptions as repository
from health.versions import Deletion, Version
from services.kit.calls import Calls, DomainError
from services.kit.database import Transaction
from services.kit.principals import Principal
from services.kit.waking import wake
from services.notify.client import NotifyClient

DUE = "health subscriptions"
ACTION = "fhir.subscription"
"""Of the server's own word on a Subscription."""
_KIND = "Subscription"
_HELD = ("kind", "subject", "client_id", "organisation", "purpose")


async def note(
    tx: Transaction,
    kept: Sequence[Version],
    gone: Iterable[Deletion],
    *,
    action: str,
    calls: Calls,
    base: str,
) -> None:
    """
    Raises:
        Refusal: 422 or 403 for a Subscription that cannot be had.
        DomainError: notify does not answer.
    """
    ended = [one.pk for one in gone if one.type == _KIND]
    if ended:
        await repository.end(tx, ended)
    if action != ACTION:
        for version in kept:
            if version.type == _KIND:
                await _take(tx, version, calls, base)
    told = [one for one in kept if one.type in _told()]
    if told and await repository.due(tx, told):
        tx.after_commit(lambda: wake(DUE))


def _told() -> frozenset[str]:
    return frozenset(kind for topic in topics().values() for kind in topic)


async def _take(tx: Transaction, version: Version, calls: Calls, base: str) -> None:
    who = tx.principal
    if who is None or who.unguarded:
        return  # conformance tools keep what they like; nobody is told anything for it
    said = asked(orjson.loads(version.body), base)
    if who.kind != "organisation":
        raise refused(403, "forbidden", "a Subscription is a system's: its notifications go to one", _KIND)
    _check_reads(who, said)
    await repository.take(
        tx,
        pk=version.pk,
        id=version.id,
        version=version.version,
        topic=said.topic,
        types=said.types,
        said=_told_by(said),
        holder=held(who),
        destination=await _endpoint(calls, who, said),
        state=said.status,
        ends_at=said.end,
    )
    tx.after_commit(lambda: wake(DUE))


def _check_reads(who: Principal, said: Asked) -> None:
    found = granted(who.scopes, "system", "r")
    for kind in said.types:
        if not found.names(kind):
            words = f"the token grants no right to read {kind}, of which this topic tells"
            raise refused(403, "forbidden", words, "Subscription.criteria")


async def _endpoint(calls: Calls, who: Principal, said: Asked) -> Any:
    try:
        return await NotifyClient(calls).endpoint(who.organisation or who.client_id, said.endpoint)
    except DomainError as error:
        if error.code != "BAD_USER_INPUT":
            raise
        raise refused(422, "value", error.detail, "Subscription.channel.endpoint") from error


def _told_by(said: Asked) -> dict[str, Any]:
    return {
        name: value
        for name, value in asdict(said).items()
        if name not in ("end", "endpoint", "status", "topic")
    }


def held(who: Principal) -> dict[str, Any]:
    """The rights a Subscription is made with."""
    rights = {"scopes": sorted(who.scopes), "roles": sorted(who.roles), "areas": list(who.areas)}
    return {name: getattr(who, name) for name in _HELD} | rights


def holder(said: Mapping[str, Any]) -> Principal:
    """Who that is."""
    rights = {name: frozenset(said[name]) for name in ("scopes", "roles")}
    return Principal(**{**said, **rights, "areas": tuple(said["areas"])})
