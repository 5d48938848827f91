"""Cross-domain reads: only under an agreement in force, only its items, in the consumer's own sector ids.

Each page is one access leaf with the Merkle root of the people in it, committed before the page is answered;
a refusal is a leaf too. The agreement is asked once before anything is fetched and once more in the leaf's
own commit, so that one suspended in between refuses the read.
"""

from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError

from services.exchange import catalogue, repository
from services.exchange.shapes import Agreement, Dataset, ReadPage
from services.identity.client import IdentityClient
from services.kit.app import Kit, prefix_of
from services.kit.principals import Principal, seal, unseal
from services.kit.problems import Problem, bad_request, conflict, forbidden

SECTOR = "exchange"
PROVIDER_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Fetched:
    rows: list[dict[str, Any]]
    people: list[str]
    untranslated: int
    following: str | None


async def read(kit: Kit, *, principal: Principal, dataset_id: str, after: str | None, limit: int) -> ReadPage:
    """A page of a dataset for the calling service.

    Raises:
        Problem: 403 `no_agreement`, 404 `unknown_dataset`, 503 when provider or identity does not answer.
    """
    consumer = principal.service
    if consumer is None:
        raise forbidden("datasets are read by services, under their own name", code="not_a_service")
    agreement = await _agreement(kit, principal, consumer, dataset_id)
    dataset = await catalogue.find(kit, dataset_id)
    _check_items(agreement, dataset)
    cursors = _Cursors(kit, agreement)
    fetched = await _fetch(kit, dataset, consumer, after=cursors.opened(after), limit=limit)
    kept = [{name: row[name] for name in agreement.items} for row in fetched.rows]
    async with kit.db.transaction(principal) as tx:
        in_force = await repository.still_in_force(tx, agreement.id)
        await tx.leaf(
            action="dataset.read",
            subjects=fetched.people if in_force else None,
            records=len(kept) if in_force else 0,
            resource=dataset_id,
            purpose=agreement.purpose,
            legal_basis=agreement.legal_basis,
            agreement=agreement.id,
            reason=None if in_force else "no_agreement",
            outcome="permitted" if in_force else "refused",
        )
    if not in_force:
        raise _no_agreement(consumer, dataset_id)
    return ReadPage(
        agreement=agreement.id,
        rows=kept,
        next=cursors.sealed(fetched.following),
        untranslated=fetched.untranslated,
    )


async def _agreement(kit: Kit, principal: Principal, consumer: str, dataset_id: str) -> Agreement:
    async with kit.db.read() as db:
        rows = await repository.agreements_between(db, consumer=consumer, dataset=dataset_id)
    if rows and rows[0]["in_force"]:
        return Agreement(**{name: rows[0][name] for name in Agreement.model_fields})
    async with kit.db.transaction(principal) as tx:
        await tx.leaf(
            action="dataset.read",
            records=0,
            resource=dataset_id,
            agreement=rows[0]["id"] if rows else None,
            reason="no_agreement",
            outcome="refused",
        )
    raise _no_agreement(consumer, dataset_id)


def _no_agreement(consumer: str, dataset_id: str) -> Problem:
    detail = f"no agreement in force lets {consumer} read {dataset_id}; see /exchange/agreements"
    return forbidden(detail, code="no_agreement")


def _check_items(agreement: Agreement, dataset: Dataset) -> None:
    missing = set(agreement.items) - {item.name for item in dataset.items}
    if missing:
        detail = f"the agreement names items that {dataset.id} does not have: {', '.join(sorted(missing))}"
        raise conflict("agreement_mismatch", detail)


async def _fetch(kit: Kit, dataset: Dataset, consumer: str, *, after: str | None, limit: int) -> _Fetched:
    params: dict[str, Any] = {"limit": limit} | ({"after": after} if after is not None else {})
    response = await kit.calls.request(
        dataset.provider,
        "GET",
        f"{prefix_of(dataset.provider)}/offers/{dataset.name}",
        params=params,
        deadline_s=PROVIDER_DEADLINE_S,
    )
    answer = response.json()
    rows: list[dict[str, Any]] = answer["rows"]
    name = dataset.sector_id
    if name is None:
        return _Fetched(rows, [], 0, answer["next"])
    identity = kit.calls.client(IdentityClient)
    ids = list(dict.fromkeys(str(row[name]) for row in rows))
    theirs = dict(
        zip(ids, await identity.translate(ids, source=dataset.provider, target=consumer), strict=True)
    )
    ours = await identity.translate(ids, source=dataset.provider, target=SECTOR)
    known = [{**row, name: theirs[str(row[name])]} for row in rows if theirs[str(row[name])] is not None]
    people = [id for id in ours if id is not None]
    return _Fetched(known, people, len(rows) - len(known), answer["next"])


class _Cursors:
    """A provider's cursor may hold its own sector ids: the consumer carries it sealed, for this agreement."""

    def __init__(self, kit: Kit, agreement: Agreement) -> None:
        self._key = kit.settings.secret_for("exchange", "cursors")
        self._prefix = f"{agreement.id}\x1f"

    def sealed(self, cursor: str | None) -> str | None:
        return None if cursor is None else seal(self._prefix + cursor, self._key)

    def opened(self, sealed: str | None) -> str | None:
        if sealed is None:
            return None
        try:
            found = unseal(sealed, self._key)
        except (JoseError, ValueError) as error:
            raise bad_request("invalid_cursor", "after is not a cursor this read gave out") from error
        if not found.startswith(self._prefix):
            raise bad_request("invalid_cursor", "after is the cursor of another agreement; start without it")
        return found.removeprefix(self._prefix)
