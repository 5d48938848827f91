"""The one schema, put together from the services' `graphql.py`; cross-domain links are declared here."""

from pathlib import Path
from typing import Any

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.types import Info

import education.graphql
import health.graphql
import services.audit.graphql
import services.exchange.graphql
import services.identity.graphql
import services.notify.graphql
import social_security.graphql
import transport.graphql
from gateway import acknowledging, house, letters, operations
from gateway.subscriptions import EXTENSIONS, CodedSchema
from services.kit.graphql import coded, context_of


@strawberry.type(description="The signed-in person, as each field's records know them. 已登录的本人。")
class Me(
    services.identity.graphql.MeFields,
    services.exchange.graphql.MeFields,
    health.graphql.MeFields,
    education.graphql.MeFields,
    social_security.graphql.MeFields,
    transport.graphql.MeFields,
):
    """Every field is answered by one service, in parallel; one that is down leaves only its own null."""


@strawberry.type
class Query(
    transport.graphql.Query,
    health.graphql.Query,
    social_security.graphql.Query,
    services.audit.graphql.Query,
    services.exchange.graphql.Query,
    services.identity.graphql.Query,
    services.notify.graphql.Query,
    letters.Query,
    house.Query,
    operations.Query,
):
    @strawberry.field(description="The signed-in person; null when nobody is. 本人；未登录时为空。")
    async def me(self, info: Info[Any, Any]) -> Me | None:
        principal = context_of(info).principal
        if principal.kind == "anonymous":
            raise coded("UNAUTHENTICATED", "sign in first / 请先登录", traceId=context_of(info).trace_id)
        return Me()


@strawberry.type
class Mutation(
    transport.graphql.Mutation,
    health.graphql.Mutation,
    services.exchange.graphql.Mutation,
    services.identity.graphql.Mutation,
    services.notify.graphql.Mutation,
    acknowledging.Mutation,
    letters.Mutation,
):
    pass


@strawberry.type
class Subscription(transport.graphql.Subscription, services.notify.graphql.Subscription):
    pass


schema = CodedSchema(
    Query,
    Mutation,
    Subscription,
    config=StrawberryConfig(disable_field_suggestions=True),
    extensions=EXTENSIONS,
)


def main() -> None:
    """Writes the committed SDL anew: `python -m gateway.schema`."""
    Path(__file__).with_name("schema.graphql").write_text(schema.as_str() + "\n")


if __name__ == "__main__":
    main()
