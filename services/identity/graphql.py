"""`me`, as the population register knows the person signed in."""

from datetime import date
from typing import Any

import strawberry
from strawberry.types import Info

from services.identity.client import IdentityClient
from services.identity.shapes import Me
from services.kit.graphql import load


@strawberry.type(description="An administrative area (GB/T 2260). 行政区划。")
class Area:
    code: str
    name: str | None
    name_en: str | None


@strawberry.type(description="An identifier, its middle covered. 部分遮盖的证件号码。")
class MaskedIdentifier:
    system: str
    value: str


@strawberry.type(description="A child the person stands for, until it turns 18. 被监护的未成年人。")
class Ward:
    name: str | None
    birth_date: date | None
    relation: str
    until: date


async def _mine(info: Info[Any, Any]) -> Me | None:
    return await load(info, IdentityClient, IdentityClient.mine, "me")


@strawberry.type
class MeFields:
    @strawberry.field(description="Name in the population register. 姓名。")
    async def name(self, info: Info[Any, Any]) -> str | None:
        found = await _mine(info)
        return found.name if found else None

    @strawberry.field(description="Birth date. 出生日期。")
    async def birth_date(self, info: Info[Any, Any]) -> date | None:
        found = await _mine(info)
        return found.birth_date if found else None

    @strawberry.field(description="male, female, other or unknown. 性别。")
    async def sex(self, info: Info[Any, Any]) -> str | None:
        found = await _mine(info)
        return found.sex if found else None

    @strawberry.field(description="Area of residence. 居住地。")
    async def area(self, info: Info[Any, Any]) -> Area | None:
        found = await _mine(info)
        if found is None or found.area is None:
            return None
        return Area(code=found.area.code, name=found.area.name, name_en=found.area.name_en)

    @strawberry.field(description="Own identifiers, masked. 证件号码（部分遮盖）。")
    async def masked_identifiers(self, info: Info[Any, Any]) -> list[MaskedIdentifier] | None:
        found = await _mine(info)
        if found is None:
            return None
        return [MaskedIdentifier(system=one.system, value=one.value) for one in found.masked_identifiers]

    @strawberry.field(description="Children the person is guardian of today. 监护的未成年人。")
    async def guardian_of(self, info: Info[Any, Any]) -> list[Ward] | None:
        found = await _mine(info)
        if found is None:
            return None
        return [
            Ward(name=ward.name, birth_date=ward.birth_date, relation=ward.relation, until=ward.until)
            for ward in found.guardian_of
        ]
