"""Destinations: where somebody wants to be told, by which way, of what.

Addresses, tokens and keys are sealed at rest and leave only for the address itself; what is shown is a host
or a mailbox's domain. A subscription to a topic carries the rights it was made with, which are asked again
at every delivery.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from yarl import URL

from services.kit.app import Kit
from services.kit.areas import area_prefix
from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Connection, Row, Transaction
from services.kit.ids import uuid7
from services.kit.principals import Principal, seal, unseal
from services.kit.problems import Fault, Problem, not_found
from services.kit.waking import wake
from services.notify import messages
from services.notify.channels import email, push, webhooks
from services.notify.channels.guard import Guard
from services.notify.deliveries import DUE, PARTNER
from services.notify.repository import deliveries as told
from services.notify.repository import destinations as repository
from services.notify.shapes import (
    Destination,
    DestinationPage,
    EmailRequest,
    NewSecret,
    NewWebhook,
    PushRequest,
    WebhookRequest,
)

TOPICAL = ("webhook", "wecom", "dingtalk")
PERSONAL = ("push", "email")
AT_MOST = 50
"""Destinations of one owner."""
OLD_SECRET_VALID = timedelta(hours=24)
CODE_VALID = timedelta(minutes=30)
CODE_AGAIN_AFTER = timedelta(minutes=1)
CODE_TRIES = 5
CONFIRMS = "notify.destination.registered"


def owner_of(who: Principal) -> str:
    """By which name the caller's destinations go: a person's sector id, the organisation of a system, the
    subject of staff."""
    if who.kind == "organisation":
        return f"{PARTNER}{who.organisation or who.client_id}"
    return who.sector_id or who.subject


def owners_of(who: Principal) -> tuple[str, ...]:
    """All names the caller's own destinations may go by."""
    return who.sector_ids or (owner_of(who),)


class Seals:
    """What is kept of addresses: sealed, and a keyed hash to know one again."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    @cache
    def of(cls, key: bytes) -> "Seals":
        return cls(key)

    def sealed(self, target: dict[str, Any]) -> str:
        return seal(orjson.dumps(target).decode(), self._key)

    def opened(self, sealed: str) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(unseal(sealed, self._key))
        return found

    def known_by(self, address: str) -> bytes:
        return hmac.digest(self._key, address.encode(), hashlib.sha256)


def seals(kit: Kit) -> Seals:
    return Seals.of(kit.settings.secret_for("notify", "seal"))


@dataclass(frozen=True, slots=True)
class _Address:
    channel: str
    place: str
    address: str
    target: dict[str, Any]


async def subscribe(kit: Kit, tx: Transaction, who: Principal, asked: WebhookRequest) -> NewWebhook:
    """A webhook or robot for a topic that the caller may read.

    Raises:
        Problem: 400 for an address or area that cannot be one; 403 for a topic that is not the caller's;
            409 when it is there already, or there are too many.
    """
    audience = messages.audience(kit, who, asked.topic)
    if audience.recipients is not None:
        raise _refused("topic", f"{asked.topic} is read in person; register a browser or an e-mail address")
    url = _checked(kit, asked.url, "url")
    secret = webhooks.new_secret() if asked.kind == "webhook" else None
    target: dict[str, Any] = {"url": str(url), "secret": asked.secret}
    if secret:
        target = {"url": str(url), "secrets": [{"secret": secret, "until": None}]}
    address = _Address(asked.kind, _place(url), str(url), target)
    destination = await _insert(kit, tx, who, address, asked.language, topic=asked.topic, asked=asked)
    return NewWebhook(**destination.model_dump(), secret=secret)


async def endpoint(kit: Kit, tx: Transaction, organisation: str, url: str) -> UUID:
    """The endpoint that another service tells what it keeps for an organisation's system; registered if it is
    not yet.

    Raises:
        Problem: 400 for an address that may not be called; 409 when there are too many.
    """
    checked = _checked(kit, url, "url")
    who = Principal("organisation", organisation, organisation, organisation)
    same = await repository.endpoint_at(tx, owner_of(who), seals(kit).known_by(str(checked)))
    if same is not None:
        return same
    target = {"url": str(checked), "secrets": [{"secret": webhooks.new_secret(), "until": None}]}
    address = _Address("webhook", _place(checked), str(checked), target)
    return (await _insert(kit, tx, who, address, "en", topic=repository.SUBSCRIPTIONS)).id


async def register_push(kit: Kit, tx: Transaction, who: Principal, asked: PushRequest) -> Destination:
    """A browser that rings; registered anew, it rings for whoever registered it last, and for nobody else.

    Raises:
        Problem: 400 for an endpoint or keys that cannot be a browser's; 409 when there are too many.
    """
    url = _checked(kit, asked.endpoint, "endpoint")
    try:
        push.checked_keys(asked.p256dh, asked.auth)
    except ValueError as error:
        raise _refused("p256dh", "p256dh and auth are a browser's keys, in base64url") from error
    target = {"endpoint": str(url), "p256dh": asked.p256dh, "auth": asked.auth}
    address = _Address("push", _place(url), str(url), target)
    found = seals(kit)
    known_by = found.known_by(address.address)
    others = await repository.held_by_others(tx, "push", known_by, owner_of(who))
    if others:
        await repository.remove_destinations(tx, others, "the browser is somebody else's now")
    same = await repository.same_destination(tx, owners_of(who), "push", known_by)
    if same is None:
        return await _insert(kit, tx, who, address, asked.language)
    await repository.renew_target(tx, same["id"], found.sealed(target), asked.language)
    return _destination({**same, "language": asked.language, "state": "active", "failing_since": None})


async def register_email(kit: Kit, tx: Transaction, who: Principal, asked: EmailRequest) -> Destination:
    """An e-mail address, to which a code is sent; nothing else is until its owner has given the code.

    Raises:
        Problem: 400 for what is no address; 409 without a mail server, or when there are too many; 429 when
            a code was sent just now.
    """
    if kit.settings.smtp_url is None:
        raise Problem(409, "no_mail_server", "no mail server is set up here, so nobody is told by e-mail")
    try:
        mailbox = email.checked_address(asked.address)
    except ValueError as error:
        raise _refused("address", str(error)) from error
    found = seals(kit)
    same = await repository.same_destination(tx, owners_of(who), "email", found.known_by(mailbox))
    if same is not None and same["state"] != "unverified":
        return _destination(same)
    target = {"address": mailbox, "code": f"{secrets.randbelow(10**6):06}"}
    until = datetime.now(UTC) + CODE_VALID
    if same is None:
        address = _Address("email", mailbox.rpartition("@")[2], mailbox, target)
        destination = await _insert(kit, tx, who, address, asked.language, code_until=until)
    elif same["code_until"] > until - CODE_AGAIN_AFTER:
        raise Problem(
            429, "code_sent", "a code was sent a moment ago; look for it", headers={"retry-after": "60"}
        )
    else:
        await repository.set_code(tx, same["id"], target=found.sealed(target), until=until)
        destination = _destination(same)
    await _send_code(tx, destination.id)
    return destination


async def confirm(kit: Kit, tx: Transaction, who: Principal, id: UUID, code: str) -> Problem | None:
    """Verifies an e-mail address by the code that was sent to it; what is wrong, for the caller to raise
    after the commit: the try counts."""
    row = await repository.try_code(tx, id, owners_of(who))
    if row is None:
        return not_found("there is no address of yours that waits for a code under this id")
    found = seals(kit)
    target = found.opened(row["target"])
    if row["code_tries"] > CODE_TRIES or row["code_until"] < datetime.now(UTC):
        return Problem(409, "code_expired", "the code is no longer valid; register the address again")
    if not hmac.compare_digest(target.pop("code").encode(), code.strip().encode()):
        message = "this is not the code that was sent"
        return Problem(400, "wrong_code", message, faults=[Fault(message, field="code")])
    await repository.verified(tx, id, found.sealed(target))
    return None


async def rotate(kit: Kit, tx: Transaction, who: Principal, id: UUID) -> NewSecret:
    """A new secret; deliveries are signed under the old one, too, for a day.

    Raises:
        Problem: 404 when it is no webhook of the caller's.
    """
    row = await _own(tx, who, id, ("webhook",))
    found, until = seals(kit), datetime.now(UTC) + OLD_SECRET_VALID
    target, secret = found.opened(row["target"]), webhooks.new_secret()
    newest = target["secrets"][-1]["secret"]
    target["secrets"] = [
        {"secret": newest, "until": until.timestamp()},
        {"secret": secret, "until": None},
    ]
    await repository.set_target(tx, id, found.sealed(target))
    await tx.leaf(action="webhooks.rotate", resource=str(id))
    return NewSecret(secret=secret, old_until=until)


async def activate(tx: Transaction, who: Principal, id: UUID) -> None:
    """Has a disabled webhook told again.

    Raises:
        Problem: 404 when it is none of the caller's.
    """
    await _own(tx, who, id, TOPICAL)
    await repository.activate(tx, id)


async def remove(tx: Transaction, who: Principal, id: UUID, channels: Sequence[str]) -> None:
    """Raises Problem 404 when it is none of the caller's."""
    await _own(tx, who, id, channels)
    await repository.remove_destinations(tx, [id], "removed by its owner")
    await tx.leaf(action="destinations.remove", subject=who.sector_id, resource=str(id))


async def page(
    db: Connection, who: Principal, channels: Sequence[str], *, after: str | None, limit: int
) -> DestinationPage:
    """The caller's own."""
    rows = await repository.destinations(db, owners_of(who), channels, after=uuid_after(after), limit=limit)
    following = encode_cursor(rows[-1]["id"]) if len(rows) == limit else None
    return DestinationPage(items=[_destination(row) for row in rows], next=following)


def holder_of(who: Principal) -> dict[str, Any]:
    """The rights a subscription is made with."""
    return {
        "kind": who.kind,
        "subject": who.subject,
        "client_id": who.client_id,
        "organisation": who.organisation,
        "scopes": sorted(who.scopes),
        "roles": sorted(who.roles),
        "areas": list(who.areas),
    }


def refusal(kit: Kit, holder: dict[str, Any], topic: str) -> str | None:
    """Why the holder of a subscription may not read its topic any more; None while it may."""
    rights = {name: frozenset(holder[name]) for name in ("scopes", "roles")}
    who = Principal(**{**holder, **rights, "areas": tuple(holder["areas"])})
    try:
        messages.audience(kit, who, topic)
    except Problem as refused:
        return refused.code
    return None


async def _insert(
    kit: Kit,
    tx: Transaction,
    who: Principal,
    address: _Address,
    language: str,
    *,
    topic: str | None = None,
    asked: WebhookRequest | None = None,
    code_until: datetime | None = None,
) -> Destination:
    owner, found = owner_of(who), seals(kit)
    if await repository.count_destinations(tx, owner) >= AT_MOST:
        raise Problem(409, "too_many", f"there are {AT_MOST} already; remove one first")
    row: dict[str, Any] = {
        "id": uuid7(),
        "owner": owner,
        "organisation": who.organisation,
        "holder": holder_of(who),
        "channel": address.channel,
        "place": address.place,
        "target": found.sealed(address.target),
        "target_hash": found.known_by(address.address),
        "topic": topic,
        "types": asked.types if asked else [],
        "area": area_prefix(asked.area) or None if asked else None,
        "language": language,
        "state": "unverified" if code_until else "active",
        "code_until": code_until,
        "created_at": datetime.now(UTC),
    }
    if not await repository.insert_destination(tx, **row):
        raise Problem(
            409, "subscribed", "this address is registered already; remove it first for a new secret"
        )
    await tx.leaf(
        action="destinations.register", subject=who.sector_id, resource=f"{address.channel}/{row['id']}"
    )
    return _destination({**row, "reason": None, "failing_since": None})


async def _send_code(tx: Transaction, destination: UUID) -> None:
    """The mail itself is put together when it is sent: the code stands nowhere in clear."""
    id, fact = uuid7(), f"notify.destination/{destination}"
    now = datetime.now(UTC)
    event = {"id": str(id), "type": CONFIRMS, "time": now.isoformat(), "data": {}}
    one = {"id": id, "fact": fact, "event": event, "words": {}, "urgent": True, "raised_at": now}
    await told.insert_told(tx, [one])
    await told.insert_delivery(tx, destination, id)
    tx.after_commit(lambda: wake(DUE))


async def _own(tx: Transaction, who: Principal, id: UUID, channels: Sequence[str]) -> Row:
    row = await repository.destination(tx, id, owners_of(who), channels)
    if row is None:
        raise not_found(f"there is no destination {id} of yours")
    return row


def _checked(kit: Kit, url: str, field: str) -> URL:
    try:
        return Guard(kit.settings.webhook_allow).checked(url)
    except ValueError as error:
        raise _refused(field, str(error)) from error


def _refused(field: str, message: str) -> Problem:
    return Problem(400, "invalid_destination", message, faults=[Fault(message, field=field)])


def _place(url: URL) -> str:
    return str(url.host) if url.is_default_port() else f"{url.host}:{url.port}"


def _destination(row: "Row | dict[str, Any]") -> Destination:
    return Destination.model_validate(dict(row))
