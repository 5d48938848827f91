"""The population register beyond its people: households, births, deaths, residence, numbers of residents."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

from fastapi import Query

from services.identity import households, persons, residence, vital
from services.identity.population_shapes import (
    BirthPage,
    BirthsRequest,
    DeathPage,
    DeathsRequest,
    HouseholdPage,
    HouseholdsRequest,
    MovesRequest,
    ResidentsPage,
    StayPage,
)
from services.identity.register import Register
from services.identity.shapes import Accepted
from services.identity.vault import VaultTx, vault_of
from services.kit.app import KitDep, Read, Router, permitted
from services.kit.areas import area_prefix
from services.kit.database import Transaction
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import forbidden

router = Router(prefix="/identity", tags=["population register"])
REGISTER = Resource("Identity::Register", id="population")
Registrar = Annotated[Principal, permitted("population.registered", REGISTER, "identity:persons:write")]
Reader = Annotated[Principal, permitted("registers.read", REGISTER, "identity:registers:read")]
Projector = Annotated[
    Principal, permitted("residents.read", REGISTER, "identity:residents:read", kinds=("service",))
]
AreaCode = Annotated[str | None, Query(pattern=r"^[0-9]{2,12}$")]
Since = Annotated[date, Query(description="registered on that day or later")]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.post("/households")
async def add_households(body: HouseholdsRequest, kit: KitDep, tx: VaultTx, who: Registrar) -> Accepted:
    register: Register = kit.parts["register"]
    taken = await households.register(tx, register, pushes=body.households, source=who.client_id)
    return await _told(tx, "households", taken)


@router.get("/households")
async def list_households(
    kit: KitDep, tx: VaultTx, who: Reader, area: AreaCode = None, after: str | None = None, limit: Limit = 100
) -> HouseholdPage:
    """Today's households with today's members."""
    register: Register = kit.parts["register"]
    return await households.page(tx, register, areas=_reach(who, area), after=after, limit=limit)


@router.post("/births")
async def add_births(body: BirthsRequest, kit: KitDep, who: Registrar) -> Accepted:
    """Registers births: children, their residence and their parents' guardianship."""
    register: Register = kit.parts["register"]
    return await vital.register_births(vault_of(kit), register, principal=who, pushes=body.births)


@router.get("/births")
async def list_births(
    kit: KitDep,
    tx: VaultTx,
    who: Reader,
    area: AreaCode = None,
    since: Since = date.min,
    after: str | None = None,
    limit: Limit = 100,
) -> BirthPage:
    register: Register = kit.parts["register"]
    areas = _reach(who, area)
    return await vital.births(tx, register, areas=areas, since=since, after=after, limit=limit)


@router.post("/deaths")
async def add_deaths(body: DeathsRequest, kit: KitDep, tx: VaultTx, who: Registrar) -> Accepted:
    register: Register = kit.parts["register"]
    taken = await vital.register_deaths(tx, register, pushes=body.deaths, source=who.client_id)
    return await _told(tx, "deaths", taken)


@router.get("/deaths")
async def list_deaths(
    kit: KitDep,
    tx: VaultTx,
    who: Reader,
    area: AreaCode = None,
    since: Since = date.min,
    after: str | None = None,
    limit: Limit = 100,
) -> DeathPage:
    register: Register = kit.parts["register"]
    areas = _reach(who, area)
    return await vital.deaths(tx, register, areas=areas, since=since, after=after, limit=limit)


@router.post("/moves")
async def add_moves(body: MovesRequest, kit: KitDep, tx: VaultTx, who: Registrar) -> Accepted:
    """Where people live, since when."""
    register: Register = kit.parts["register"]
    taken = await residence.register(tx, register, pushes=body.moves, source=who.client_id)
    return await _told(tx, "moves", taken)


@router.get("/residences")
async def list_residences(
    kit: KitDep, tx: VaultTx, who: Reader, area: AreaCode = None, after: str | None = None, limit: Limit = 100
) -> StayPage:
    """Every stay there has been in these areas, in the order of recording."""
    register: Register = kit.parts["register"]
    return await residence.page(tx, register, areas=_reach(who, area), after=after, limit=limit)


@router.get("/residents")
async def count_residents(
    db: Read,
    _who: Projector,
    on: date | None = None,
    level: Literal["province", "prefecture", "county"] = "county",
    area: AreaCode = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> ResidentsPage:
    """People by area, year of birth and sex on a day: what every projection starts from. Exact, so for
    services alone; everybody else is offered it without small cells."""
    return await residence.residents(
        db,
        on=on or persons.today(),
        level=level,
        areas=[area_prefix(area)] if area else None,
        after=after,
        limit=limit,
    )


def _reach(who: Principal, area: str | None) -> Sequence[str] | None:
    """What the codes of the areas asked for begin with: never more than the caller's own areas."""
    if area is not None and not who.may_area(area):
        raise forbidden("these rights hold in other areas", code="outside_area")
    return [area_prefix(area)] if area is not None else who.area_prefixes


async def _told(tx: Transaction, what: str, taken: Accepted) -> Accepted:
    await tx.publish(f"identity.{what}.registered", aggregate=what, data=taken.model_dump())
    return taken
