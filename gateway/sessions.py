"""A session at the gateway: who is signed in, and the short tokens it holds for each service.

For each service it calls, the gateway exchanges the session's token (RFC 8693) for one that is good at that
service alone and carries the person's id of that sector sealed to it. The gateway never sees a sector id.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from strawberry.dataloader import DataLoader

from services.kit import telemetry
from services.kit.calls import Calls, DomainError, ServiceClient
from services.kit.clocks import Ending
from services.kit.graphql import coded
from services.kit.principals import Principal

C = TypeVar("C", bound=ServiceClient)

PUBLIC_SERVICES = frozenset({"transport", "notify", "audit", "exchange"})
"""Of these, anybody may see what is public: crowd levels and warnings, tree heads, the catalogue of shared
data with its agreements, open data."""
KEPT_TOKENS = 8192
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - the grant's name
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type's name


class TokenExchange:
    """Short tokens by (session token, service), each asked for once and kept until shortly before its end."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._kept: OrderedDict[tuple[str, str], asyncio.Future[tuple[str, Ending]]] = OrderedDict()

    async def token(self, session: str, service: str) -> str:
        """The session's token for a service.

        Raises:
            DomainError: identity refuses, or does not answer.
        """
        key = (session, service)
        kept = self._kept.get(key)
        if kept is not None and (not kept.done() or _usable(kept)):
            return (await asyncio.shield(kept))[0]
        asked = self._kept[key] = asyncio.ensure_future(self._exchange(session, service))
        while len(self._kept) > KEPT_TOKENS:
            self._kept.popitem(last=False)
        return (await asyncio.shield(asked))[0]

    def forget(self) -> None:
        """Asks for every token anew: what they say of a person may have changed."""
        self._kept.clear()

    async def _exchange(self, session: str, service: str) -> tuple[str, Ending]:
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": session,
            "subject_token_type": ACCESS_TOKEN,
            "audience": service,
            **self._calls.client_assertion(),
        }
        try:
            response = await self._calls.request(
                "identity", "POST", "/oauth/token", data=form, anonymous=True
            )
        except DomainError as error:
            raise self._refusal(service, error) from error
        body = response.json()
        return body["access_token"], Ending.after(float(body["expires_in"]) - 15.0)

    def _refusal(self, service: str, error: DomainError) -> DomainError:
        """RFC 8693's words for a refusal, as what they mean to whoever asked."""
        match error.problem.get("error"):
            case "invalid_target":
                return DomainError(service, "FORBIDDEN", f"this session has no rights at {service}")
            case "invalid_grant" | "invalid_token" | "invalid_request":
                return DomainError(service, "UNAUTHENTICATED", "the session has ended; sign in again")
            case _:
                return error


def _usable(kept: "asyncio.Future[tuple[str, Ending]]") -> bool:
    if kept.cancelled() or kept.exception() is not None:
        return False
    return not kept.result()[1].over


@dataclass
class Session:
    """`info.context` of one operation: implements `services.kit.graphql.Context`."""

    principal: Principal
    calls: Calls
    exchange: TokenExchange
    verify: Callable[[str | None], Awaitable[Principal]]
    trace_id: str = field(default_factory=lambda: telemetry.trace_id() or "")
    connection_params: dict[str, Any] | None = None
    """What a WebSocket client said in `connection_init`; Strawberry puts it here."""
    introspection: bool = False
    """Whether the schema may be asked for over this socket or stream."""
    loaders: dict[tuple[str, str], DataLoader[Any, Any]] = field(default_factory=dict)

    async def client(self, kind: type[C]) -> C:
        """A service's client on behalf of this session.

        Raises:
            GraphQLError: UNAUTHENTICATED, when nobody is signed in and the service is not a public one.
        """
        token = self.principal.token
        if token is None:
            if self.principal.kind == "anonymous" and kind.service not in PUBLIC_SERVICES:
                raise coded("UNAUTHENTICATED", "sign in first / 请先登录", traceId=self.trace_id)
            return self.calls.client(kind)
        if kind.service in PUBLIC_SERVICES:
            return self.calls.client(kind, token=partial(self._public_token, token, kind.service))
        return self.calls.client(kind, token=partial(self.exchange.token, token, kind.service))

    async def _public_token(self, session: str, service: str) -> str:
        """The session's own token; ours where it has none there, for what nobody needs a right to see."""
        try:
            return await self.exchange.token(session, service)
        except DomainError as error:
            if error.code != "FORBIDDEN":
                raise
            return await self.calls.own_token()
