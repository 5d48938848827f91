"""Subscriptions: graphql-transport-ws and server-sent events, through Strawberry's own view.

A browser cannot set headers on a socket, so the token may also come in `connection_init`:
`{"authorization": "Bearer …"}`.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.extensions import AddValidationRules, MaxTokensLimiter, SchemaExtension
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL, GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionContext, ExecutionResult

from gateway.documents import MAX_TOKENS, Measure
from gateway.errors import coded_error
from gateway.graphql_http import open_session
from gateway.sessions import Session
from services.kit.problems import Problem

MAX_SUBSCRIPTIONS = 100


class CodedErrors(SchemaExtension):
    """Errors leave with their code over a socket as they do over HTTP, and unforeseen ones masked."""

    def on_operation(self) -> Any:
        yield
        result = self.execution_context.result
        if isinstance(result, ExecutionResult) and result.errors:
            result.errors = [coded_error(error, _trace_id(self.execution_context)) for error in result.errors]


def _trace_id(context: ExecutionContext) -> str:
    return getattr(context.context, "trace_id", "")


EXTENSIONS: list[Any] = [
    lambda: MaxTokensLimiter(max_token_count=MAX_TOKENS),
    lambda: AddValidationRules([Measure]),
    CodedErrors,
]


class Stream(GraphQL[Session, None]):
    """The view for sockets and event streams; everything else is answered by GraphQLDoor."""

    def __init__(self, schema: Any, *, allowed_origins: tuple[str, ...] = ()) -> None:
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
        return await open_session(request)

    async def on_ws_connect(self, context: Session) -> Any:
        authorization = (context.connection_params or {}).get("authorization")
        if authorization is not None:
            try:
                context.principal = await context.verify(str(authorization))
            except Problem as problem:
                raise ConnectionRejectionError({"reason": problem.detail}) from problem
        return await super().on_ws_connect(context)
