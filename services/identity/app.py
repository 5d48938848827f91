"""The doors of identity: base registers, people resolved to sector ids, and everything tokens need."""

import asyncio
from datetime import date
from typing import Annotated

from fastapi import Query, Response

from services.identity import (
    clients,
    guardianship,
    lookalikes,
    organisations,
    persons,
    places,
    rotation,
    signin,
)
from services.identity.clients import Clients
from services.identity.doors import matches, population, sector_ids
from services.identity.keys import SigningKeys
from services.identity.matching import Refusal
from services.identity.oauth import authorize, metadata, token
from services.identity.oauth.errors import render
from services.identity.oauth.requests import Carrier
from services.identity.offers import OFFERS
from services.identity.outside import OutsideIssuer
from services.identity.register import Register
from services.identity.repository import access, registers
from services.identity.shapes import (
    CITIZEN_NUMBER,
    Accepted,
    AccountAnswer,
    AccountRequest,
    ClientAnswer,
    ClientRequest,
    GuardianshipsRequest,
    Identifier,
    KeysAnswer,
    Me,
    OrganisationPage,
    OrganisationsRequest,
    PersonsRequest,
    PlacePage,
    PlacesRequest,
    ResolveAnswer,
    ResolveRequest,
    WardsAnswer,
    WardsRequest,
)
from services.identity.signin import Doorman
from services.identity.tokens import Issuer
from services.identity.vault import VaultTx, open_vault, vault_of
from services.kit.app import Kit, KitDep, Read, Router, Tx, permitted, service, standard_app
from services.kit.policy import Resource
from services.kit.principals import Principal, allowed
from services.kit.problems import forbidden

CHORES_EVERY_S = 60.0
SECTOR_KEYS_EVERY_S = 15.0
KEYED_AT_ONCE = 2000

router = Router(prefix="/identity", tags=["identity"])
PEOPLE = Resource("Identity::Person", id="persons")
REGISTERS = Resource("Identity::Register", id="registers")
CLIENTS = Resource("Identity::Client", id="clients")
ACCOUNTS = Resource("Identity::Account", id="accounts")
RESOLVE, WARDS = "identity:persons:resolve", "identity:wards:read"
REGISTER, CLIENT = "identity:registers:write", "identity:clients:write"
Resolver = Annotated[Principal, permitted("persons.resolved", PEOPLE, RESOLVE, kinds=("service",))]
Registry = Annotated[Principal, permitted("persons.registered", PEOPLE, "identity:persons:write")]
WardReader = Annotated[Principal, permitted("wards.read", PEOPLE, WARDS, kinds=("service",))]
Myself = Annotated[Principal, allowed("identity:persons:read", kinds=("person",))]
ClientAdmin = Annotated[Principal, permitted("client.registered", CLIENTS, CLIENT)]
KeyReader = Annotated[Principal, permitted("keys.read", CLIENTS, CLIENT)]
KeyAdmin = Annotated[Principal, permitted("keys.rotated", CLIENTS, CLIENT)]
AccountAdmin = Annotated[Principal, permitted("account.registered", ACCOUNTS, "identity:accounts:write")]
Organisations = Annotated[Principal, permitted("organisations.registered", REGISTERS, REGISTER)]
Places = Annotated[Principal, permitted("places.registered", REGISTERS, REGISTER)]
Guardianships = Annotated[Principal, permitted("guardianships.registered", REGISTERS, REGISTER)]


@router.post("/resolve")
async def resolve(body: ResolveRequest, kit: KitDep, who: Resolver) -> ResolveAnswer:
    """The ids of these people in the calling service's sector; those unknown are made if `create`."""
    register: Register = kit.parts["register"]
    found = await persons.resolve(
        vault_of(kit),
        register,
        principal=who,
        sector=persons.sector_of(who, register),
        pushes=body.people,
        create=body.create,
        organisation=body.organisation,
    )
    return ResolveAnswer(people=found)


@router.post("/persons")
async def register_persons(body: PersonsRequest, kit: KitDep, who: Registry) -> ResolveAnswer:
    """The population registry's word: people made or corrected; it replaces what pushes had filled in."""
    found = await persons.resolve(
        vault_of(kit),
        kit.parts["register"],
        principal=who,
        sector="civil",
        pushes=body.people,
        create=body.create,
        registry=True,
    )
    return ResolveAnswer(people=found)


@router.post("/wards")
async def known_wards(body: WardsRequest, kit: KitDep, tx: VaultTx, who: WardReader) -> WardsAnswer:
    """The children a guardian stands for today, by their ids in the calling service's sector."""
    register: Register = kit.parts["register"]
    sector = persons.sector_of(who, register)
    return WardsAnswer(wards=await persons.wards(tx, register, sector=sector, guardian=body.guardian))


@router.get("/persons/me")
async def me(kit: KitDep, tx: VaultTx, who: Myself) -> Me:
    kit.permitted(who, "person.read", PEOPLE, relations=("self",))
    account = await access.account(tx, who.subject)
    return await persons.me(tx, kit.parts["register"], pid=account["pid"] if account else None)


@router.post("/clients", status_code=201)
async def add_client(body: ClientRequest, tx: Tx, who: ClientAdmin) -> ClientAnswer:
    return await clients.register(tx, request=body, created_by=who.client_id)


@router.post("/accounts", status_code=201)
async def add_account(
    body: AccountRequest, kit: KitDep, tx: VaultTx, who: AccountAdmin, response: Response
) -> AccountAnswer:
    """An account of the outside issuer, or (in the demo only) one with a password."""
    if body.password is not None and not kit.settings.demo:
        raise forbidden("accounts with passwords exist in the demo only", code="demo_only")
    pid = None
    if body.identifier is not None:
        identifier = body.identifier
        if isinstance(identifier, str):
            identifier = Identifier(system=CITIZEN_NUMBER, value=identifier)
        register: Register = kit.parts["register"]
        pid = await persons.person_of(tx, register, identifier=identifier, principal=who)
    found = await signin.add_account(tx, kit.parts["doorman"].passwords, request=body, pid=pid)
    response.status_code = 201 if found.created else 200
    return found


@router.post("/organisations")
async def add_organisations(
    body: OrganisationsRequest, kit: KitDep, tx: VaultTx, who: Organisations
) -> Accepted:
    register: Register = kit.parts["register"]
    taken = await organisations.register(tx, register, pushes=body.organisations, source=who.client_id)
    await _told(tx, "organisations", taken)
    return taken


@router.get("/organisations")
async def list_organisations(
    db: Read,
    codes: Annotated[list[str] | None, Query(max_length=200)] = None,
    area: Annotated[str | None, Query(pattern=r"^[0-9]{2,12}$")] = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> OrganisationPage:
    return await organisations.page(db, codes=codes, area=area, after=after, limit=limit)


@router.post("/places")
async def add_places(body: PlacesRequest, tx: Tx, who: Places) -> Accepted:
    taken = await places.register(tx, pushes=body.places, source=who.client_id)
    await _told(tx, "places", taken)
    return taken


@router.get("/places")
async def list_places(
    db: Read,
    codes: Annotated[list[str] | None, Query(max_length=200)] = None,
    parent: Annotated[str | None, Query(pattern=r"^[0-9]{6,12}$")] = None,
    on: date | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> PlacePage:
    """Areas by code; with `on`, those there were on that day, as they were called then."""
    return await places.page(db, codes=codes, parent=parent, on=on, after=after, limit=limit)


@router.post("/guardianships")
async def add_guardianships(
    body: GuardianshipsRequest, kit: KitDep, tx: VaultTx, who: Guardianships
) -> Accepted:
    register: Register = kit.parts["register"]
    named = [one for push in body.guardianships for one in (push.guardian, push.ward)]
    pids = await persons.pids_of(tx, register, named)
    taken = await guardianship.register(tx, pushes=body.guardianships, pids=pids, source=who.client_id)
    people = {pid for pid in pids if pid is not None and not isinstance(pid, Refusal)}
    await tx.leaf(
        action="guardianships.registered",
        subjects=register.log_ids(people),
        records=taken.accepted,
        resource="guardianships",
    )
    await tx.publish("identity.guardianships.registered", aggregate="guardianships", data=taken.model_dump())
    return taken


@router.get("/keys")
async def list_keys(kit: KitDep, db: Read, _who: KeyReader) -> KeysAnswer:
    return KeysAnswer(keys=await kit.parts["keys"].listed(db))


@router.post("/keys/rotation")
async def rotate_keys(kit: KitDep, tx: Tx, _who: KeyAdmin) -> KeysAnswer:
    """Signs with the next key from now on; the one before stays published until its tokens have expired."""
    keys: SigningKeys = kit.parts["keys"]
    await keys.rotate(tx)
    await tx.leaf(action="keys.rotated", resource="signing-keys")
    return KeysAnswer(keys=await keys.listed(tx))


async def _told(tx: Tx, what: str, taken: Accepted) -> None:
    await tx.leaf(action=f"{what}.registered", records=taken.accepted, resource=what)
    await tx.publish(f"identity.{what}.registered", aggregate=what, data=taken.model_dump())


async def _open(kit: Kit) -> None:
    keys = SigningKeys(kit.db, kit.settings)
    await keys.prepare()
    vault = await open_vault(kit)
    async with vault.transaction() as tx:
        register = await Register.open(tx, kit.settings)
        await places.seed(tx)
    kit.parts.update(
        vault=vault,
        keys=keys,
        register=register,
        issuer=Issuer(kit.settings, keys),
        clients=Clients(kit.db, kit.settings),
        doorman=Doorman.of(kit.db, kit.settings),
        carrier=Carrier(kit.settings.secret_for("identity", "signin")),
        outside=OutsideIssuer(kit.settings) if kit.settings.oidc_issuer else None,
    )


async def _sector_keys(kit: Kit) -> None:
    """Follows what other processes did to the sectors' keys, and ends the overlaps that are over."""
    while True:
        async with vault_of(kit).transaction() as tx:
            await rotation.retire_due(tx, kit.parts["register"])
        await asyncio.sleep(SECTOR_KEYS_EVERY_S)


async def _blocking_keys(kit: Kit) -> None:
    """Those who were kept before there were keys to find them by get theirs; over when all have some."""
    register: Register = kit.parts["register"]
    found = KEYED_AT_ONCE
    while found == KEYED_AT_ONCE:
        async with vault_of(kit).transaction() as tx:
            found = await lookalikes.key_some(tx, register.vault, KEYED_AT_ONCE)


async def _chores(kit: Kit) -> None:
    """Rotates keys that are due and forgets what has expired."""
    while True:
        await kit.parts["keys"].rotate_when_due()
        async with kit.db.transaction() as tx:
            await access.purge(tx)
        await asyncio.sleep(CHORES_EVERY_S)


oauth = standard_app("Huimin OAuth 2.1", render=render, routers=[token.router, authorize.router])

app = service(
    "identity",
    title="Huimin identity",
    description="People, organisations, places, guardianship; sector ids; sign-in and tokens.",
    routers=[router, population.router, sector_ids.router, matches.router, metadata.router],
    offers=OFFERS,
    mounts={"/oauth": oauth},
    startup=[_open],
    background=[_chores, _sector_keys, _blocking_keys],
    counts=registers.counts,
)
