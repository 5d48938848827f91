"""Consent: a person lets one organisation do something for one purpose, and may revoke it at once.

It rests on 个人信息保护法 第十三条第一款第一项, 第十四条 (given), 第十五条 (revoked as easily) and
第三十一条 (by the guardian, for a child). Whether it is there is asked in SQL, with a lock, in the
transaction that answers.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.exchange import catalogue, people, receipts, words
from services.exchange.person_shapes import (
    Bilingual,
    Consent,
    ConsentCheck,
    ConsentPage,
    ConsentRequest,
    Receipt,
)
from services.exchange.repository import consents as repository
from services.identity.client import IdentityClient
from services.kit.app import Kit
from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Row, Transaction
from services.kit.ids import uuid7
from services.kit.policy import Decision
from services.kit.principals import Principal
from services.kit.problems import Fault, Problem, conflict, forbidden, not_found, unprocessable
from services.kit.purposes import OWN_RECORDS, PURPOSES

RESOURCE = "Exchange::Consent"
READ, GIVE, REVOKE, CHECK = "consents.read", "consents.give", "consents.revoke", "consents.check"
LONGEST = timedelta(days=5 * 366)
DOMAINS = catalogue.PROVIDERS


async def give(kit: Kit, who: Principal, asked: ConsentRequest) -> Consent:
    """Takes the person's consent, or a guardian's for a child.

    Raises:
        Problem: 422 with every fault: an unknown organisation, purpose or dataset, an impossible term;
            403 for anybody else.
    """
    code = asked.ward or people.own_code(who)
    decision = await people.admit(kit, who, GIVE, RESOURCE, code=code)
    names = await words.names(kit.calls.client(IdentityClient), [asked.organisation])
    async with kit.db.read() as db:
        known = await repository.known_datasets(db, asked.datasets)
    faults = _faults(asked, names, known)
    if faults:
        raise unprocessable("invalid_consent", f"{len(faults)} faults; nothing was kept", *faults)
    consent = {
        **asked.model_dump(exclude={"ward"}),
        "id": uuid7(),
        "subject": code,
        "given_by": people.own_code(who),
    }
    async with kit.db.transaction(who) as tx:
        await repository.add(tx, consent)
        row = await repository.consent(tx, consent["id"])
        assert row is not None, "it was just added"
        await _tell(tx, row, GIVE, "given", decision)
    return _shape(row, names)


def _faults(asked: ConsentRequest, names: Mapping[str, Bilingual], datasets: Collection[str]) -> list[Fault]:
    now = datetime.now(UTC)
    begins = asked.valid_from or now
    checks = (
        ("organisation", "unknown_organisation", _nameless(asked.organisation, names),
         "neither a registered organisation nor a service of the suite"),
        ("purpose", "unknown_purpose", asked.purpose not in PURPOSES or asked.purpose == OWN_RECORDS,
         f"one of {', '.join(sorted(PURPOSES.keys() - {OWN_RECORDS}))}"),
        ("actions", "nothing_allowed", not asked.actions and not asked.datasets,
         "say at least one action or dataset"),
        ("datasets", "unknown_dataset", not set(asked.datasets) <= set(datasets),
         "not in the catalogue; see /exchange/datasets"),
        ("valid_from", "begins_in_the_past", begins < now - timedelta(minutes=5),
         "it cannot begin in the past"),
        ("valid_until", "empty_term", asked.valid_until <= max(begins, now), "it ends before it begins"),
        ("valid_until", "term_too_long", asked.valid_until - begins > LONGEST, "at most five years"),
    )  # fmt: skip
    return [Fault(message, field=field, code=code) for field, code, wrong, message in checks if wrong]


def _nameless(organisation: str, names: Mapping[str, Bilingual]) -> bool:
    return organisation not in DOMAINS and names[organisation].zh == organisation


async def revoke(kit: Kit, who: Principal, id: UUID) -> Consent:
    """Ends a consent now: what rests on it and has not been answered yet is refused.

    Raises:
        Problem: 404 when there is none; 403 for anybody but the person and the guardian; 409 when it was
            revoked before.
    """
    async with kit.db.read() as db:
        row = await repository.consent(db, id)
    if row is None:
        raise _unknown()
    decision = await people.admit(kit, who, REVOKE, RESOURCE, code=await _code_now(kit, row["subject"]))
    async with kit.db.transaction(who) as tx:
        if await repository.revoke(tx, id, by=people.own_code(who)) is None:
            raise conflict("revoked_before", "this consent was revoked before")
        row = await repository.consent(tx, id)
        assert row is not None
        await _tell(tx, row, REVOKE, "revoked", decision)
    return _shape(row, await words.names(kit.calls.client(IdentityClient), [row["organisation"]]))


async def page(kit: Kit, who: Principal, *, code: str | None, after: str | None, limit: int) -> ConsentPage:
    """A person's consents, newest first, with those that have ended."""
    code = code or people.own_code(who)
    decision = await people.admit(kit, who, READ, RESOURCE, code=code)
    subjects = (await people.ids_of(kit, code, people.SECTOR)).get(people.SECTOR, [])
    async with kit.db.read() as db:
        rows = await repository.consents(db, subjects, before=uuid_after(after), limit=limit + 1)
    names = await words.names(kit.calls.client(IdentityClient), [row["organisation"] for row in rows])
    items = [_shape(row, names) for row in rows[:limit]]
    await _read(kit, who, decision, subject=code, records=len(items))
    return ConsentPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


async def receipt(kit: Kit, who: Principal, id: UUID) -> Receipt:
    """The receipt of a consent as it stands now; for the person and the guardian."""
    async with kit.db.read() as db:
        row = await repository.consent(db, id)
    if row is None:
        raise _unknown()
    code = await _code_now(kit, row["subject"])
    decision = await people.admit(kit, who, READ, RESOURCE, code=code)
    names = await words.names(kit.calls.client(IdentityClient), [row["organisation"]])
    await _read(kit, who, decision, subject=code, resource=f"consents/{id}/receipt")
    return receipts.receipt(row, names[row["organisation"]], kit.settings.public_url)


async def check(kit: Kit, who: Principal, asked: ConsentCheck) -> list[bool]:
    """For each of the calling service's own people whether their consent covers this now.

    Raises:
        Problem: 422 for an id of another sector (services/identity/sector_ids.py).
    """
    service = who.service
    if service is None:
        raise forbidden("consents are checked by services, for people of their own sector", code="no_sector")
    ids = list(dict.fromkeys(asked.ids))
    identity = kit.calls.client(IdentityClient)
    found = (
        await identity.sector_ids(ids, to=[people.SECTOR], source=service, purpose=asked.purpose)
        if ids
        else []
    )
    ours = {id: one[people.SECTOR] if one else [] for id, one in zip(ids, found, strict=True)}
    every = [code for codes in ours.values() for code in codes]
    async with kit.db.transaction(who) as tx:
        consenting = await repository.consenting(
            tx,
            every,
            organisations=[asked.organisation],
            purpose=asked.purpose,
            action=asked.action,
            dataset=asked.dataset,
        )
        await tx.leaf(
            action=CHECK,
            subjects=sorted({codes[0] for codes in ours.values() if codes}),
            records=len(ids),
            purpose=asked.purpose,
            resource=asked.organisation,
            reason="consent",
        )
    return [not consenting.isdisjoint(ours[id]) for id in asked.ids]


async def _code_now(kit: Kit, subject: str) -> str:
    """The person's present id in the exchange; the one kept may be of an earlier key."""
    found = await people.ids_of(kit, subject, people.SECTOR)
    return found[people.SECTOR][0] if found else subject


async def _read(
    kit: Kit,
    who: Principal,
    decision: Decision,
    *,
    subject: str,
    records: int = 1,
    resource: str = "consents",
) -> None:
    assert kit.leaves is not None
    await kit.leaves.write(
        who,
        action=READ,
        subject=subject,
        records=records,
        resource=resource,
        purpose=OWN_RECORDS,
        legal_basis=decision.legal_basis,
        reason=decision.reason,
    )


async def _tell(tx: Transaction, row: Row, action: str, change: str, decision: Decision) -> None:
    await tx.leaf(
        action=action,
        subject=row["subject"],
        resource=f"consents/{row['id']}",
        purpose=OWN_RECORDS,
        legal_basis=decision.legal_basis,
        reason=decision.reason,
    )
    # Whose consent it is stays here: an event with the ids of several sectors would join them.
    data = {"consent": str(row["id"]), "organisation": row["organisation"], "purpose": row["purpose"]}
    await tx.publish(f"exchange.consent.{change}", aggregate=f"consent/{row['id']}", data=data)


def _shape(row: Row, names: Mapping[str, Bilingual]) -> Consent:
    return Consent(
        organisation_words=names[row["organisation"]],
        purpose_words=words.of_purpose(row["purpose"]),
        by_guardian=row["given_by"] != row["subject"],
        **{
            name: row[name]
            for name in (
                *("id", "organisation", "purpose", "actions", "datasets", "given_at", "valid_from"),
                *("valid_until", "revoked_at", "in_force"),
            )
        },
    )


def _unknown() -> Problem:
    return not_found("there is no such consent", code="unknown_consent")
