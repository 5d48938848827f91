"""Cross-domain reads: only under an agreement in force, only its items and rows, in the consumer's own ids.

What is pushed under a subscription goes the same way (pushes.py).

Each page is one access leaf with the Merkle root of the people in it, committed before the page is answered;
a refusal is a leaf too. The agreement is asked once before anything is fetched and once more in the leaf's
own commit, with the day's quota, so that one suspended in between refuses the read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from services.exchange import agreements, catalogue, grounds, hiding
from services.exchange.repository import agreements as repository
from services.exchange.repository import consents, usages
from services.exchange.shapes import Agreement, Dataset, ReadPage
from services.identity.client import IdentityClient
from services.kit import row_filters
from services.kit.app import Kit, prefix_of
from services.kit.calls import DomainError
from services.kit.database import Connection, Row, Transaction
from services.kit.policy import Resource
from services.kit.principals import NOT_A_TOKEN, Principal, seal, unseal
from services.kit.problems import Problem, bad_request, forbidden

SECTOR = "exchange"
READ = "dataset.read"
PUSH = "dataset.push"
PROVIDER_DEADLINE_S = 30.0
REFUSED = frozenset({400, 403, 404})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What goes out: rows of agreed items, under the consumer's ids, and the people in the exchange's own.

    Attributes:
        following: where the provider goes on.
        settled: of changes, whether there was nothing behind them.
    """

    rows: list[dict[str, Any]]
    people: list[str]
    untranslated: int
    following: str | None
    codes: Sequence[str] = ()
    """Whose each row is, by the exchange's own ids."""
    known_as: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """All ids the exchange has given these people, where their consent is asked."""
    without_consent: int = 0
    settled: bool = True


async def read(
    kit: Kit,
    *,
    principal: Principal,
    dataset_id: str,
    agreement_id: str | None = None,
    hidden: UUID | None = None,
    after: str | None,
    limit: int,
) -> ReadPage:
    """A page of a dataset for the calling service.

    Args:
        hidden: the recorded right by which the people's own lists only count this read.
        agreement_id: which of the caller's agreements; when not said the one the read began with, or at its
            beginning the one in force that lasts longest.

    Raises:
        Problem: 400 `invalid_cursor`, 403 `no_agreement` or `no_hiding_right`, 404 `unknown_dataset`,
            429 `quota_exceeded`, 503 when provider or identity does not answer.
    """
    consumer = principal.service
    if consumer is None:
        raise forbidden("datasets are read by services, under their own name", code="not_a_service")
    began_with, start = _opened(kit, after)
    if began_with is not None and agreement_id not in {began_with, None}:
        raise bad_request("invalid_cursor", "after is the cursor of another agreement; start without it")
    agreement = await agreement_for(kit, principal, consumer, dataset_id, began_with or agreement_id)
    dataset = await catalogue.find(kit, dataset_id)
    left = await rows_left(kit, principal, agreement)
    fetched = await fetch(kit, principal, agreement, dataset, after=start, limit=min(limit, left))
    fetched, refusal = await recorded(kit, principal, agreement, fetched, hidden)
    if refusal is not None:
        raise refusal
    return ReadPage(
        agreement=agreement.id,
        rows=fetched.rows,
        next=_sealed(kit, agreement, fetched.following),
        untranslated=fetched.untranslated,
        without_consent=fetched.without_consent,
    )


async def agreement_for(
    kit: Kit,
    principal: Principal,
    consumer: str,
    dataset_id: str,
    agreement_id: str | None,
    *,
    action: str = READ,
) -> Agreement:
    """The agreement in force.

    Raises:
        Problem: 403 `no_agreement`, or why the dataset does not carry it any more (grounds.py); the attempt
            is a leaf.
    """
    async with kit.db.read() as db:
        rows = await repository.between(db, consumer=consumer, dataset=dataset_id, id=agreement_id)
    in_force = bool(rows) and rows[0]["in_force"]
    relations = {"agreement"} if in_force else ()
    resource = Resource("Exchange::Dataset", id=dataset_id)
    decision = kit.policy.decide(principal, action, resource, relations=relations)
    if in_force and decision.permitted:
        return agreements.shape_of(rows[0])
    refusal = decision.refusal() if in_force else _not_in_force(rows, consumer, dataset_id)
    await _refused(kit, principal, dataset_id, rows[0]["id"] if rows else None, refusal.code, action)
    raise refusal


async def _refused(
    kit: Kit, principal: Principal, dataset_id: str, agreement_id: str | None, reason: str, action: str
) -> None:
    async with kit.db.transaction(principal) as tx:
        await tx.leaf(
            action=action,
            records=0,
            resource=dataset_id,
            agreement=agreement_id,
            reason=reason,
            outcome="refused",
        )


async def rows_left(kit: Kit, principal: Principal, agreement: Agreement, *, action: str = READ) -> int:
    """How many rows the day's quota still holds; nothing is fetched that it would not.

    Raises:
        Problem: 429 `quota_exceeded`; the attempt is a leaf.
    """
    async with kit.db.read() as db:
        reads, rows = await repository.used_today(db, agreement.id)
        left = agreement.rows_per_day - rows
        if reads < agreement.reads_per_day and left > 0:
            return left
        refusal = await _quota_exceeded(db, agreement)
    await _refused(kit, principal, agreement.dataset, agreement.id, refusal.code, action)
    raise refusal


async def recorded(
    kit: Kit,
    principal: Principal,
    agreement: Agreement,
    fetched: Fetched,
    hidden: UUID | None = None,
    *,
    action: str = READ,
) -> tuple[Fetched, Problem | None]:
    """Counts and logs the transfer: what goes out of it, and what refuses it, if the agreement or its quota
    ended meanwhile. Consent is asked here, so that nobody revokes it between the asking and the commit.
    """
    refusal: Problem | None = None
    async with kit.db.transaction(principal) as tx:
        if agreement.needs_consent:
            fetched = await _consented(tx, agreement, fetched)
        if hidden is not None and not await usages.may_hide(tx, hidden, [agreement.consumer]):
            refusal = hiding.no_right()
        elif (held := await repository.held(tx, agreement.id)) is None or not held["in_force"]:
            refusal = _not_in_force([held] if held else [], agreement.consumer, agreement.dataset)
        elif not await repository.use(tx, agreement.id, len(fetched.rows)):
            refusal = await _quota_exceeded(tx, agreement)
        await tx.leaf(
            action=action,
            subjects=None if refusal else fetched.people,
            records=0 if refusal else len(fetched.rows),
            resource=agreement.dataset,
            purpose=agreement.purpose,
            legal_basis=agreement.legal_basis,
            agreement=agreement.id,
            reason=refusal.code if refusal else agreement.details,
            hidden=str(hidden) if hidden is not None and refusal is None else None,
            outcome="refused" if refusal else "permitted",
        )
    return fetched, refusal


async def _consented(tx: Transaction, agreement: Agreement, fetched: Fetched) -> Fetched:
    """The rows of those who let the consumer read this dataset for this purpose, now; said under any of the
    ids the exchange has given them."""
    given = await consents.consenting(
        tx,
        [id for ids in fetched.known_as.values() for id in ids],
        organisations=[agreement.consumer],
        purpose=agreement.purpose,
        dataset=agreement.dataset,
    )
    consenting = {code for code, ids in fetched.known_as.items() if not given.isdisjoint(ids)}
    kept = [n for n, code in enumerate(fetched.codes) if code in consenting]
    return replace(
        fetched,
        rows=[fetched.rows[n] for n in kept],
        codes=[fetched.codes[n] for n in kept],
        people=[code for code in fetched.people if code in consenting],
        without_consent=len(fetched.rows) - len(kept),
    )


def _not_in_force(rows: Sequence[Row], consumer: str, dataset_id: str) -> Problem:
    detail = f"no agreement in force lets {consumer} read {dataset_id}; see /exchange/agreements"
    if rows and rows[0]["state"] in {"active", "suspended"} and rows[0]["lack"] is not None:
        return forbidden(f"{detail}: {grounds.reason(rows[0])}", code=rows[0]["lack"])
    return forbidden(detail, code="no_agreement")


async def _quota_exceeded(db: Connection, agreement: Agreement) -> Problem:
    return Problem(
        429,
        "quota_exceeded",
        f"the agreement {agreement.id} allows {agreement.reads_per_day} reads and "
        f"{agreement.rows_per_day} rows a day; go on tomorrow, or ask for a larger quota",
        headers={"Retry-After": str(await repository.seconds_left_today(db))},
    )


async def fetch(
    kit: Kit,
    principal: Principal,
    agreement: Agreement,
    dataset: Dataset,
    *,
    after: str | None,
    limit: int,
    changes: bool = False,
) -> Fetched:
    """What the provider gives of the dataset, or of its changes, for the consumer.

    Raises:
        DomainError: provider or identity does not answer.
        Problem: 502 `provider_fault`; 403 when the provider's refusal shows that the dataset does not carry
            the agreement any more.
    """
    try:
        rows, following, settled = await _offered(
            kit, agreement, dataset, after=after, limit=limit, changes=changes
        )
    except DomainError as error:
        # What the provider refuses, its catalogue entry may not say yet.
        if error.status in REFUSED and await catalogue.refresh(kit, dataset.provider):
            action = PUSH if changes else READ
            names = (agreement.consumer, agreement.dataset, agreement.id)
            await agreement_for(kit, principal, *names, action=action)
        raise
    name = dataset.sector_id
    if name is None:
        return Fetched(_agreed(agreement, rows), [], 0, following)
    identity = kit.calls.client(IdentityClient)
    ids = list(dict.fromkeys(str(row[name]) for row in rows))
    theirs = dict(
        zip(
            ids,
            await identity.translate(ids, source=dataset.provider, target=agreement.consumer),
            strict=True,
        )
    )
    ours = dict(zip(ids, await identity.translate(ids, source=dataset.provider, target=SECTOR), strict=True))
    # Who could not be named in the leaf is not read either.
    known = [row for row in rows if None not in (theirs[str(row[name])], ours[str(row[name])])]
    codes = [str(ours[str(row[name])]) for row in known]
    people = list(dict.fromkeys(codes))
    return Fetched(
        _agreed(agreement, [{**row, name: theirs[str(row[name])]} for row in known]),
        people,
        len(rows) - len(known),
        following,
        codes=codes,
        known_as=await _known_as(identity, agreement, people) if agreement.needs_consent else {},
        settled=settled,
    )


async def _known_as(
    identity: IdentityClient, agreement: Agreement, people: Sequence[str]
) -> dict[str, Sequence[str]]:
    found = await identity.sector_ids(people, to=[SECTOR], purpose=agreement.purpose) if people else []
    return {id: one[SECTOR] if one else [] for id, one in zip(people, found, strict=True)}


async def _offered(
    kit: Kit, agreement: Agreement, dataset: Dataset, *, after: str | None, limit: int, changes: bool
) -> tuple[list[dict[str, Any]], str | None, bool]:
    """What the provider gives: no more items than the agreement, its filter and the translation need."""
    needed = {*agreement.items, *(one.item for one in agreement.filter)}
    needed |= {dataset.sector_id} if dataset.sector_id is not None else set()
    params: dict[str, Any] = {"limit": limit, "items": ",".join(sorted(needed))}
    if after is not None:
        params["after"] = after
    if agreement.filter:
        params["filter"] = row_filters.dumped(agreement.filter)
    response = await kit.calls.request(
        dataset.provider,
        "GET",
        f"{prefix_of(dataset.provider)}/offers/{dataset.name}{'/changes' if changes else ''}",
        params=params,
        deadline_s=PROVIDER_DEADLINE_S,
    )
    answer = response.json()
    rows: list[dict[str, Any]] = answer["rows"]
    types = catalogue.filterable(dataset)
    standing = [row for row in rows if not changes or stands(row, dataset)]
    if not all(row_filters.holds(agreement.filter, row, types) for row in standing):
        detail = f"{dataset.provider} answered with rows that were not agreed; none is passed on"
        raise Problem(502, "provider_fault", detail)
    return rows, answer["next"], answer.get("settled", True)


def stands(row: Mapping[str, Any], dataset: Dataset) -> bool:
    """Of a change, whether the row is there now: one that is gone has no value but the person's id."""
    return any(value is not None for name, value in row.items() if name != dataset.sector_id)


def _agreed(agreement: Agreement, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in agreement.items} for row in rows]


def _sealed(kit: Kit, agreement: Agreement, cursor: str | None) -> str | None:
    """A provider's cursor may hold its own sector ids: the consumer carries it sealed, for this agreement."""
    return None if cursor is None else seal(f"{agreement.id}\x1f{cursor}", _cursor_key(kit))


def _opened(kit: Kit, sealed: str | None) -> tuple[str | None, str | None]:
    """The agreement a read goes on under, and the provider's cursor."""
    if sealed is None:
        return None, None
    try:
        agreement, _, cursor = unseal(sealed, _cursor_key(kit)).partition("\x1f")
    except NOT_A_TOKEN as error:
        raise bad_request("invalid_cursor", "after is not a cursor this read gave out") from error
    return agreement, cursor


def _cursor_key(kit: Kit) -> bytes:
    return kit.settings.secret_for("exchange", "cursors")
