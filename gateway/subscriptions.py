"""Subscriptions: graphql-transport-ws and server-sent events, through Strawberry's own view.

A browser cannot set headers on a socket, so the token may also come in `connection_init`:
`{"authorization": "Bearer …"}`.
"""

from collections.abc import Iterator
from typing import Any

import strawberry
from graphql import ASTValidationRule, GraphQLError, NoSchemaIntrospectionCustomRule
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.extensions import MaxTokensLimiter, SchemaExtension
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL, GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionContext

from gateway.documents import MAX_TOKENS, Measure
from gateway.errors import coded_error
from gateway.graphql_http import open_session
from gateway.sessions import Session
from services.kit.calls import DomainError
from services.kit.problems import Problem

MAX_SUBSCRIPTIONS = 100


class CodedSchema(strawberry.Schema):
    """Errors leave with their code over a socket as they do over HTTP, unforeseen ones masked.

    Strawberry hands over every list of errors here, before it is sent; its own way is to log each with the
    whole text of the query, which may hold what nobody should find in a log.
    """

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        trace_id = getattr(execution_context and execution_context.context, "trace_id", "")
        errors[:] = [coded_error(error, trace_id) for error in errors]


class Guarded(SchemaExtension):
    """What GraphQLDoor sees to for a request, for each operation over a socket: limits, fresh loaders."""

    def on_operation(self) -> Iterator[None]:
        rules: list[type[ASTValidationRule]] = [Measure]
        session = self.execution_context.context
        if isinstance(session, Session):
            # A socket has one session for all its operations: what one has loaded is old for the next.
            session.loaders.clear()
            if not session.introspection:
                rules.append(NoSchemaIntrospectionCustomRule)
        self.execution_context.validation_rules += tuple(rules)
        yield


EXTENSIONS: list[Any] = [lambda: MaxTokensLimiter(max_token_count=MAX_TOKENS), Guarded]


class Stream(GraphQL[Session, None]):
    """The view for sockets and event streams; everything else is answered by GraphQLDoor."""

    def __init__(
        self, schema: Any, *, introspection: bool = False, allowed_origins: tuple[str, ...] = ()
    ) -> None:
        self._introspection = introspection
        super().__init__(
            schema,
            graphql_ide=None,
            keep_alive=True,
            keep_alive_interval=15,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_SSE_PROTOCOL],
            max_subscriptions_per_connection=MAX_SUBSCRIPTIONS,
            allowed_origins=allowed_origins,
        )

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Session:
        session = await open_session(request)
        session.introspection = self._introspection
        return session

    async def on_ws_connect(self, context: Session) -> Any:
        authorization = (context.connection_params or {}).get("authorization")
        if authorization is not None:
            try:
                context.principal = await context.verify(str(authorization))
            except (Problem, DomainError) as why:  # it does not hold, or nobody can say whether it does
                raise ConnectionRejectionError({"reason": why.detail}) from why
        return await super().on_ws_connect(context)
