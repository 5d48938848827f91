"""Who answers for which service: the department whose staff ask for data and decide on requests."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from services.exchange.repository import agreements as repository
from services.exchange.shapes import Department, DepartmentIn
from services.kit.database import Connection, Row, Transaction
from services.kit.problems import conflict, not_found


@cache
def _known() -> dict[str, dict[str, Any]]:
    text = files("services.exchange").joinpath("knowledge/departments.json").read_text(encoding="utf-8")
    return {one["service"]: one for one in json.loads(text)["departments"]}


def class_of(service: str) -> str:
    """类 and 项 of a department's data (国发〔2016〕51号: 101 人口基础信息, 3 部门信息资源)."""
    return str(_known()[service]["class"]) if service in _known() else "399"


async def seed(tx: Transaction) -> None:
    """The names that ship with the suite, until the real organisations are registered."""
    await repository.seed_departments(tx, list(_known().values()))


async def register(tx: Transaction, service: str, body: DepartmentIn) -> Department:
    """Says which organisation answers for a service; from then on its staff do.

    Raises:
        Problem: 404 `unknown_service`; 409 `organisation_taken`: provider and consumer must differ.
    """
    if service not in _known():
        raise not_found(f"no service {service} shares data", code="unknown_service")
    if not await repository.register_department(tx, service, **body.model_dump()):
        raise conflict("organisation_taken", f"{body.organisation} answers for another service already")
    return Department(service=service, **body.model_dump())


async def all_of_them(db: Connection) -> list[Department]:
    return [shape_of(row) for row in await repository.departments(db)]


async def organisation(db: Connection, service: str) -> str | None:
    """The organisation that answers for a service; None while nobody does."""
    row = await repository.department(db, service)
    return None if row is None else row["organisation"]


def shape_of(row: Row) -> Department:
    return Department(**{name: row[name] for name in Department.model_fields})
