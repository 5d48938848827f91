"""`me` of the population register, as the gateway would ask it, over the real door."""

from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

import strawberry

from services.identity import persons
from services.identity.graphql import MeFields
from services.kit.calls import ServiceClient
from services.kit.principals import ANONYMOUS, Principal
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, Browser, citizen_number, exchanged
from tests.identity.test_registers import HANGZHOU, guardianship_of, registered, with_people


@strawberry.type
class Me(MeFields):
    pass


@strawberry.type
class Query:
    @strawberry.field
    def me(self) -> Me:
        return Me()


@dataclass
class Context:
    """What the gateway puts behind an operation, with one token."""

    make: Any
    calls: list[str] = field(default_factory=list)
    principal: Principal = ANONYMOUS
    trace_id: str = "t"
    loaders: dict[Any, Any] = field(default_factory=dict)

    async def client(self, kind: type[ServiceClient]) -> ServiceClient:
        self.calls.append(kind.service)
        found: ServiceClient = self.make(kind)
        return found


async def test_all_fields_of_me_are_answered_by_one_call(identity: Identity) -> None:
    child, father = citizen_number(_recently(), 1), citizen_number()
    await identity.admin.post("/identity/places", json={"places": HANGZHOU})
    await with_people(identity, child)
    await registered(identity, guardianship_of(child, valid_from=str(_recently())))
    await identity.account("father", identifier=father)
    session = await Browser(identity.http).session("father")
    token = (
        await exchanged(identity.http, identity.service("gateway"), session["access_token"], "identity")
    ).json()
    context = Context(partial(identity.kit.calls.client, token=token["access_token"]))
    answer = await strawberry.Schema(Query).execute(
        """{ me { name birthDate sex area { code name } maskedIdentifiers { system value }
                 guardianOf { name birthDate relation until } } }""",
        context_value=context,
    )
    assert answer.errors is None
    assert answer.data is not None
    me = answer.data["me"]
    assert (me["name"], me["birthDate"], me["sex"], me["area"]) == ("人0", "1985-03-14", "male", None)
    assert me["maskedIdentifiers"] == [{"system": CITIZEN_NUMBER, "value": f"3{'*' * 16}{father[-1]}"}]
    assert [ward["relation"] for ward in me["guardianOf"]] == ["parent"]
    assert context.calls == ["identity"]
    assert len(await identity.leaves("person.read")) == 1


def _recently() -> date:
    return persons.today().replace(day=1)
