"""What every service's `graphql.py` stands on: the session's context, batched loads, pages, coded errors."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

import strawberry
from graphql import GraphQLError
from strawberry.dataloader import DataLoader
from strawberry.types import Info

from services.kit.calls import DomainError, ServiceClient
from services.kit.principals import Principal
from services.kit.problems import Problem

C = TypeVar("C", bound=ServiceClient)
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
PAGE_MAX = 100


class Context(Protocol):
    """What the gateway puts into `info.context` for one operation of one session."""

    principal: Principal
    trace_id: str
    loaders: dict[tuple[str, str], DataLoader[Any, Any]]

    async def client(self, kind: type[C]) -> C:
        """The typed client, carrying the session's short token for that service."""
        ...


def context_of(info: Info[Any, Any]) -> Context:
    return cast(Context, info.context)


async def client_of(info: Info[Any, Any], kind: type[C]) -> C:
    """The session's client for a service.

    Raises:
        GraphQLError: UNAUTHENTICATED when nobody is signed in.
    """
    return await context_of(info).client(kind)


async def load(
    info: Info[Any, Any],
    kind: type[C],
    method: Callable[[C, list[K]], Awaitable[Sequence[T | DomainError | None]]],
    key: K,
) -> T | None:
    """One key of a batch read; all keys asked for in the same step travel in one call.

    Args:
        method: an unbound batch read of the client, e.g. `TransportClient.zones`: keys in, answers in the
            same order, a DomainError standing where a single key failed.
    """
    context = context_of(info)
    name = (kind.service, method.__name__)
    loader = context.loaders.get(name)
    if loader is None:

        async def batch(keys: list[Any]) -> Sequence[Any]:
            return await method(await context.client(kind), keys)

        loader = context.loaders[name] = DataLoader(load_fn=batch, max_batch_size=100)
    return cast("T | None", await loader.load(key))


@strawberry.type(description="Where a page of a list ends. 一页列表的末尾。")
class PageInfo:
    end_cursor: str | None
    has_next_page: bool


@strawberry.type
class Page(Generic[T]):
    """A page of a list by keyset cursor: `nodes`, and where to go on."""

    nodes: list[T]
    page_info: PageInfo


def page(nodes: Sequence[T], following: str | None) -> "Page[T]":
    """A page from a door's answer `{items, next}`."""
    return Page(
        nodes=list(nodes), page_info=PageInfo(end_cursor=following, has_next_page=following is not None)
    )


def first_of(first: int) -> int:
    """Checks a page size.

    Raises:
        GraphQLError: BAD_USER_INPUT outside 1 to 100.
    """
    if not 1 <= first <= PAGE_MAX:
        raise coded("BAD_USER_INPUT", f"first must be between 1 and {PAGE_MAX}, not {first}")
    return first


def coded(code: str, message: str, **extensions: Any) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code, **extensions})


def graphql_error(error: BaseException, trace_id: str) -> dict[str, Any] | None:
    """The extensions an error leaves the gateway with; None for one that must be masked."""
    match error:
        case DomainError():
            found: dict[str, Any] = {"code": error.code, "service": error.service, "traceId": trace_id}
            if error.retry_after_s is not None:
                found["retryAfter"] = error.retry_after_s
            if error.problem.get("errors"):
                found["errors"] = error.problem["errors"]
            return found
        case Problem():
            code = {401: "UNAUTHENTICATED", 403: "FORBIDDEN", 404: "NOT_FOUND", 429: "RATE_LIMITED"}
            return {"code": code.get(error.status, "BAD_USER_INPUT"), "traceId": trace_id}
        case _:
            return None
