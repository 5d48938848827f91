"""The doors of the gateway: one GraphQL endpoint, and the pages that people open."""

from typing import Any

from starlette.routing import Route, WebSocketRoute

from gateway import pages
from gateway.graphql_http import GraphQLDoor, follow_merges
from gateway.house import SERVICES
from gateway.pages.start.router import editor
from gateway.schema import schema
from gateway.subscriptions import Stream
from services.kit.app import Kit, KitDep, Router, service
from services.kit.events.asyncapi import document

PATH = "/graphql"
router = Router(include_in_schema=False)


@router.get("/asyncapi.json")
async def asyncapi(kit: KitDep) -> dict[str, Any]:
    """What all services publish (AsyncAPI 3)."""
    return document(kit.settings, SERVICES)


async def _open_door(kit: Kit) -> None:
    """Introspection and the query editor are for the demo; elsewhere the schema is shipped, not asked for."""
    introspection = kit.settings.demo or kit.settings.no_auth
    kit.parts["graphql"] = GraphQLDoor(
        # The executable schema itself: our handler does what Strawberry's own pipeline would do around it.
        schema._schema,
        Stream(schema, introspection=introspection),
        introspection=introspection,
        editor=editor if kit.settings.demo else None,
    )


class _Door:
    """Hands on to the door that was opened at start."""

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await scope["app"].state.kit.parts["graphql"](scope, receive, send)


app = service(
    "gateway",
    title="Huimin gateway",
    description="One GraphQL endpoint over all services, and the pages that people open.",
    routers=[router, *pages.routers()],
    startup=[_open_door],
    background=[follow_merges],
    database=False,
    streams=(PATH,),
)
app.router.routes.insert(0, Route(PATH, _Door(), include_in_schema=False))
app.router.routes.insert(1, WebSocketRoute(PATH, _Door()))
