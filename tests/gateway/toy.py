"""A small schema behind the gateway's own door, for what does not depend on any service."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import strawberry
from fastapi import FastAPI
from starlette.routing import Route, WebSocketRoute
from strawberry.schema.config import StrawberryConfig
from strawberry.types import Info

from gateway.graphql_http import GraphQLDoor
from gateway.subscriptions import EXTENSIONS, CodedSchema, Stream
from services.kit.app import Kit, service
from services.kit.calls import DomainError, ServiceClient
from services.kit.graphql import load


class Counting(ServiceClient):
    """A public service that counts how often it is asked."""

    service = "transport"
    asked = 0

    async def counted(self, keys: list[str]) -> list[int]:
        Counting.asked += 1
        return [Counting.asked for _ in keys]


@strawberry.type
class Part:
    @strawberry.field
    async def value(self) -> int | None:
        return 1


@strawberry.type
class Query:
    @strawberry.field
    async def hello(self, name: str = "you", times: int = 1) -> str:
        return " ".join([f"hello {name}"] * times)

    @strawberry.field
    async def part(self) -> Part | None:
        return Part()

    @strawberry.field
    async def down(self) -> Part | None:
        raise DomainError("health", "SERVICE_UNAVAILABLE", "the service cannot be reached")

    @strawberry.field
    async def broken(self) -> int | None:
        raise ZeroDivisionError("a secret")

    @strawberry.field
    async def loaded(self, info: Info[Any, Any]) -> int | None:
        """How often it was asked for, through the session's loader."""
        return await load(info, Counting, Counting.counted, "one")

    @strawberry.field
    async def hanging(self) -> int | None:
        await asyncio.sleep(60)
        return 1


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def change(self) -> int:
        return 1


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int = 3) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def failing(self) -> AsyncGenerator[int, None]:
        yield 0
        raise DomainError("notify", "SERVICE_UNAVAILABLE", "gone")


schema = CodedSchema(
    Query,
    Mutation,
    Subscription,
    config=StrawberryConfig(disable_field_suggestions=True),
    extensions=EXTENSIONS,
)


def app(**options: Any) -> FastAPI:
    async def open_door(kit: Kit) -> None:
        kit.parts["graphql"] = GraphQLDoor(schema._schema, Stream(schema), introspection=True, **options)

    async def door(scope: Any, receive: Any, send: Any) -> None:
        await scope["app"].state.kit.parts["graphql"](scope, receive, send)

    class Door:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await door(scope, receive, send)

    found = service("gateway", database=False, startup=[open_door], streams=("/graphql",))
    found.router.routes[:0] = [Route("/graphql", Door()), WebSocketRoute("/graphql", Door())]
    return found


@asynccontextmanager
async def client(**options: Any) -> AsyncIterator[httpx.AsyncClient]:
    made = app(**options)
    async with made.router.lifespan_context(made):
        transport = httpx.ASGITransport(made, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            yield http
