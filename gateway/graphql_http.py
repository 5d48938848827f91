"""GraphQL over HTTP, answered by one bare ASGI handler (GraphQL over HTTP, draft of 2025).

Order of a request: body cap (the frame) → principal → document, parsed with a token cap and validated once →
variables → execution under one deadline → coded errors → encoding. Stock views never answer the newer media
type `application/graphql-response+json`, under which a request that fails before execution is a 400 without
`data`; hence this handler.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import GraphQLError, GraphQLSchema, OperationType, execute
from graphql.execution import ExecutionResult
from redis.exceptions import RedisError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.documents import Document, Documents, Refused
from gateway.errors import coded_error
from gateway.sessions import Session, TokenExchange
from services.identity.shapes import MERGES
from services.kit.app import Kit, kit_of
from services.kit.calls import DomainError
from services.kit.principals import Principal
from services.kit.problems import Problem

JSON = "application/json"
RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
DEADLINE_S = 15.0
HEAR_AGAIN_S = 1.0
PARAMETERS = frozenset({"query", "operationName", "variables", "extensions"})


Editor = Callable[[Request, Kit], Awaitable[Response]]


@dataclass(frozen=True)
class Asked:
    """The parameters of a request, of the right types."""

    query: str
    operation_name: str | None
    variables: dict[str, Any] | None


class BadRequest(Exception):
    """The request cannot be executed at all."""

    def __init__(
        self, status: int, message: str, *, code: str = "BAD_USER_INPUT", headers: Any = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})


class GraphQLDoor:
    """The ASGI app at `/graphql`; subscriptions go to `stream`, browsers to `editor` where there is one."""

    def __init__(
        self, schema: GraphQLSchema, stream: Any, *, introspection: bool, editor: Editor | None = None
    ) -> None:
        self._editor = editor
        self._schema = schema
        self._stream = stream
        self._documents = Documents(schema, introspection=introspection)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._stream(scope, receive, send)
            return
        request = Request(scope, receive)
        accept = request.headers.get("accept", "")
        if self._editor is not None and request.method == "GET" and "text/html" in accept:
            await (await self._editor(request, kit_of(request)))(scope, receive, send)
            return
        if EVENT_STREAM in accept:
            await self._stream(scope, receive, send)
            return
        response = await self._answer(request)
        await response(scope, receive, send)

    async def run(
        self, text: str, session: Session, variables: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """A document executed for one of our own pages: the body of the answer."""
        document = self._documents.checked(text)
        result = await self._execute(document, Asked(text, None, variables), session)
        return _body(result, session.trace_id)

    async def _answer(self, request: Request) -> Response:
        media_type = JSON
        body: dict[str, Any]
        try:
            media_type = _accepted(request.headers.get("accept"))
            session = await open_session(request)
            asked = await _asked(request)
            document = self._documents.checked(asked.query)
            _check_operation(document, asked, request.method)
            result = await self._execute(document, asked, session)
        except BadRequest as error:
            body = {"errors": [{"message": error.message, "extensions": {"code": error.code}}]}
            # The older media type tells a request error from a transport error by its 200.
            return _encoded(body, error.status, media_type, error.headers)
        except Problem as error:
            code = "UNAUTHENTICATED" if error.status == 401 else "BAD_USER_INPUT"
            body = {"errors": [{"message": error.detail, "extensions": {"code": code}}]}
            return _encoded(body, error.status, media_type, error.headers)
        except DomainError as error:  # identity's keys are needed to look at a token
            body = {"errors": [{"message": str(error), "extensions": {"code": error.code}}]}
            return _encoded(body, 503, media_type)
        except Refused as error:
            body = {"errors": [coded_error(e, "").formatted for e in error.errors]}
            return _encoded(body, 200 if media_type == JSON else 400, media_type)
        body = _body(result, session.trace_id)
        started = "data" in body
        return _encoded(body, 200 if started or media_type == JSON else 400, media_type)

    async def _execute(self, document: Document, asked: Asked, session: Session) -> ExecutionResult:
        try:
            async with asyncio.timeout(DEADLINE_S):
                result = execute(
                    self._schema,
                    document.node,
                    context_value=session,
                    variable_values=asked.variables,
                    operation_name=asked.operation_name,
                    hide_suggestions=True,
                )
                return result if isinstance(result, ExecutionResult) else await result
        except TimeoutError:
            error = GraphQLError(f"no answer within {DEADLINE_S:g} s", extensions={"code": "TIMEOUT"})
            return ExecutionResult(data=None, errors=[error])


async def open_session(request: Any) -> Session:
    """The session of a request or of a socket's connection.

    Raises:
        Problem: 401 for a token that does not hold.
    """
    kit = kit_of(request)
    return session_of(kit, await kit.tokens.principal(request.headers.get("authorization")))


def session_of(kit: Kit, principal: Principal) -> Session:
    """A session of its own for one operation, or for the operations of one socket or page."""
    return Session(
        principal=principal, calls=kit.calls, exchange=exchange_of(kit), verify=kit.tokens.principal
    )


def exchange_of(kit: Kit) -> TokenExchange:
    found = kit.parts.get("exchange")
    if found is None:
        found = kit.parts["exchange"] = TokenExchange(kit.calls)
    assert isinstance(found, TokenExchange)
    return found


async def follow_merges(kit: Kit) -> None:
    """Lets go of the tokens kept when it was decided anew who is one person with whom: they carry a person's
    ids. Unheard, it shows when the tokens end."""
    while True:
        with suppress(RedisError, OSError):
            async with kit.redis.pubsub() as channel:
                await channel.subscribe(MERGES)
                async for _ in channel.listen():
                    exchange_of(kit).forget()
        await asyncio.sleep(HEAR_AGAIN_S)


def _accepted(header: str | None) -> str:
    """The media type to answer in; the older one where the client states no preference."""
    if not header:
        return JSON
    wanted = [part.split(";")[0].strip().lower() for part in header.split(",")]
    for name in wanted:
        if name == RESPONSE:
            return RESPONSE
        if name in {JSON, "*/*", "application/*"}:
            return JSON
    raise BadRequest(406, f"this answers {RESPONSE} or {JSON}")


async def _asked(request: Request) -> Asked:
    if request.method == "GET":
        return _from_query(request.query_params)
    if request.method != "POST":
        raise BadRequest(405, "use POST, or GET for queries", headers={"Allow": "GET, POST"})
    content_type = request.headers.get("content-type", "")
    kind, _, rest = content_type.partition(";")
    if kind.strip().lower() != JSON:
        raise BadRequest(415, f"send the request as {JSON}")
    charset = rest.partition("charset=")[2].strip().strip('"').lower()
    if charset not in {"", "utf-8", "utf8"}:
        raise BadRequest(415, "send the request in UTF-8")
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise BadRequest(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest(400, "the body must be a JSON object; batches are not taken")
    return _typed(body)


def _from_query(parameters: QueryParams) -> Asked:
    values: dict[str, Any] = dict(parameters)
    for name in ("variables", "extensions"):
        if values.get(name):
            try:
                values[name] = orjson.loads(values[name])
            except orjson.JSONDecodeError as error:
                raise BadRequest(400, f"{name} is not JSON: {error}") from error
        else:
            values.pop(name, None)
    return _typed(values)


def _typed(values: dict[str, Any]) -> Asked:
    query = values.get("query")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest(400, "query must be the text of a GraphQL document")
    for name, kind, what in (
        ("operationName", str, "text"),
        ("variables", dict, "an object"),
        ("extensions", dict, "an object"),
    ):
        if values.get(name) is not None and not isinstance(values[name], kind):
            raise BadRequest(400, f"{name} must be {what}")
    unknown = values.keys() - PARAMETERS
    if unknown:
        raise BadRequest(400, f"unknown parameter {', '.join(sorted(unknown))}")
    return Asked(query, values.get("operationName"), values.get("variables"))


def _check_operation(document: Document, asked: Asked, method: str) -> None:
    operation = document.operation(asked.operation_name)
    if operation is None:
        raise Refused([GraphQLError("operationName must name one operation of the document")])
    if operation.operation is OperationType.SUBSCRIPTION:
        raise BadRequest(400, "subscribe over graphql-transport-ws, or with Accept: text/event-stream")
    if method == "GET" and operation.operation is not OperationType.QUERY:
        raise BadRequest(405, "GET is for queries; send mutations by POST", headers={"Allow": "POST"})


def _body(result: ExecutionResult, trace_id: str) -> dict[str, Any]:
    body: dict[str, Any] = {}
    # graphql-core reports variables that cannot be coerced as data None with errors without a path:
    # execution never began, so there is no data to speak of.
    began = result.data is not None or any(e.path for e in result.errors or ())
    if result.errors:
        body["errors"] = [coded_error(e, trace_id).formatted for e in result.errors]
    timed_out = any((e.extensions or {}).get("code") == "TIMEOUT" for e in result.errors or ())
    if began or timed_out:
        body["data"] = result.data
    return body


def _encoded(body: dict[str, Any], status: int, media_type: str, headers: Any = None) -> Response:
    return Response(
        orjson.dumps(body, default=str),
        status,
        headers={**(headers or {}), "cache-control": "no-store"},
        media_type=f"{media_type}; charset=utf-8",
    )
