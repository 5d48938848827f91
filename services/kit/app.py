"""The frame every service's app is made in: `app = service("transport", routers=[…])`.

It gives the app its lifespan (database, broker, calls, relay, consumers, jobs), its dependencies (`Tx`,
`Read`, `KitDep`), its error form, the operators' doors under the service's own prefix, and refuses query
parameters nobody declared.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args, get_origin

import redis.asyncio as redis_client
from fastapi import APIRouter, Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.requests import HTTPConnection, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.types import Scope

from services.kit import events, jobs, leaves, operations, telemetry
from services.kit.calls import Calls
from services.kit.database import Connection, Database, Transaction
from services.kit.frame import Frame
from services.kit.offers import Offer, offers_router
from services.kit.policy import Decision, Policies, Resource, package_of
from services.kit.principals import Kind, Principal, TokenVerifier, allowed, current_principal
from services.kit.problems import Fault, Problem, bad_request
from services.kit.rendering import Render, install_handlers, render_problem
from services.kit.settings import Settings
from services.kit.subscriptions import Subscriptions, inbox_router, subscribing
from services.kit.waking import stopped

Hook = Callable[["Kit"], Awaitable[None]]
Background = Callable[["Kit"], Coroutine[Any, Any, None]]


@dataclass
class Kit:
    """What a running service stands on; one for each app, at `app.state.kit`."""

    name: str
    settings: Settings
    calls: Calls
    tokens: TokenVerifier
    redis: "redis_client.Redis"
    database: Database | None = None
    leaves: "leaves.LeafBuffer | None" = None
    jobs: "jobs.Jobs | None" = None
    contribution: "operations.Contribution | None" = None
    over: Mapping[str, str] = field(default_factory=dict)
    beats: operations.Beats = field(default_factory=operations.Beats)
    push_failures: operations.PushFailures = field(default_factory=operations.PushFailures)
    parts: dict[str, Any] = field(default_factory=dict)
    """What a service's own startup hook made and its doors use, by name."""
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    """Closed when the service stops, the last that was put on it first."""
    policy: Policies = field(init=False)

    def __post_init__(self) -> None:
        self.policy = Policies.of(package_of(self.name))

    def permitted(
        self,
        who: Principal,
        action: str,
        resource: Resource,
        *,
        consent: bool = False,
        relations: Collection[str] = (),
        purpose: str | None = None,
    ) -> Decision:
        """`policy.require`, and an access leaf of the attempt where it is refused.

        Raises:
            Problem: 403, its code the reason.
        """
        try:
            return self.policy.require(
                who, action, resource, consent=consent, relations=relations, purpose=purpose
            )
        except Problem as refusal:
            if self.leaves is not None:
                self.leaves.add(
                    who,
                    action=action,
                    subject=resource.owner,
                    resource=resource.id,
                    records=0,
                    purpose=purpose,
                    reason=refusal.code,
                    outcome="refused",
                )
            raise

    @property
    def db(self) -> Database:
        assert self.database is not None, f"{self.name} keeps nothing in a database"
        return self.database


def kit_of(connection: HTTPConnection) -> Kit:
    kit = connection.app.state.kit
    assert isinstance(kit, Kit)
    return kit


async def _kit(connection: HTTPConnection) -> Kit:
    return kit_of(connection)


# What is no coroutine FastAPI calls in a thread, once for each request.
KitDep = Annotated[Kit, Depends(_kit)]


def permitted(
    action: str,
    resource: Resource | Callable[[Principal], Resource],
    *scopes: str,
    kinds: tuple[Kind, ...] = (),
) -> Any:
    """Dependency: `allowed`, and the access policies permit the action on the resource as a whole.

    Use as `who: Annotated[Principal, permitted("keys.read", KEYS, "identity:clients:write")]`.
    """

    async def check(kit: KitDep, who: Annotated[Principal, allowed(*scopes, kinds=kinds)]) -> Principal:
        kit.permitted(who, action, resource if isinstance(resource, Resource) else resource(who))
        return who

    return Depends(check)


async def _transaction(
    kit: KitDep, principal: Annotated[Any, Depends(current_principal)]
) -> AsyncIterator[Transaction]:
    async with kit.db.transaction(principal) as transaction:
        yield transaction


async def _reading(kit: KitDep) -> AsyncIterator[Connection]:
    async with kit.db.read() as connection:
        yield connection


# Scope "function": the commit happens before the answer is sent, so an acknowledged push is a kept one.
Tx = Annotated[Transaction, Depends(_transaction, scope="function")]
Read = Annotated[Connection, Depends(_reading, scope="function")]


class StrictRoute(APIRoute):
    """A route that refuses query parameters it does not declare, naming those it knows."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        known = _query_parameters(self.dependant)

        async def strict(request: Request) -> Response:
            given = [name for name, _ in request.query_params.multi_items()]
            unknown = [name for name in request.query_params if name not in known]
            if unknown:
                raise bad_request(
                    "unknown_parameter",
                    f"unknown query parameter {', '.join(unknown)}; this path knows "
                    + (", ".join(sorted(known)) or "none"),
                    *(Fault(f"unknown query parameter {name}", field=name) for name in unknown),
                )
            # Of two values only the last would be looked at.
            twice = [n for n in request.query_params if given.count(n) > 1 and not known[n]]
            if twice:
                raise bad_request(
                    "repeated_parameter",
                    f"query parameter {', '.join(twice)} is given more than once; say it once",
                    *(Fault(f"{name} is given more than once", field=name) for name in twice),
                )
            return await handler(request)

        return strict


def _query_parameters(dependant: Dependant) -> dict[str, bool]:
    """The names a path knows, and of each whether it may be repeated."""
    known: dict[str, bool] = {}
    for parameter in dependant.query_params:
        annotation = parameter.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            for name, field in annotation.model_fields.items():
                known[field.alias or name] = _takes_many(field.annotation)
        else:
            known[parameter.alias] = _takes_many(annotation)
    for below in dependant.dependencies:
        known |= _query_parameters(below)
    return known


def _takes_many(annotation: Any) -> bool:
    if any(kind in (annotation, get_origin(annotation)) for kind in (list, set, tuple)):
        return True
    return any(map(_takes_many, get_args(annotation)))


class Router(APIRouter):
    """APIRouter with strict query parameters; every service's doors are made with it."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("route_class", StrictRoute)
        super().__init__(**kwargs)


def prefix_of(name: str) -> str:
    """Where a service's operators' doors stand: `/social-security` for `social_security`."""
    return "/" + name.replace("_", "-")


class StandardMount(Mount):
    """A mount that answers at its bare path too: `POST /fhir` reaches the standard's own `/`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and scope["path"] == f"{scope.get('root_path', '')}{self.path}":
            match, child = super().matches({**scope, "path": scope["path"] + "/"})
            return match, {**child, "path": scope["path"] + "/"}
        return super().matches(scope)


def standard_app(title: str, render: Render, *, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """An app to mount for a wire standard that has its own error form.

    Args:
        render: turns a Problem into the standard's answer.
    """
    app = FastAPI(title=title, openapi_url="/openapi.json", docs_url=None, redoc_url=None)
    app.state.render = render
    install_handlers(app, render)
    for router in routers:
        app.include_router(router)
    return app


def service(
    name: str,
    *,
    title: str = "",
    description: str = "",
    routers: Sequence[APIRouter] = (),
    mounts: Mapping[str, FastAPI] | None = None,
    offers: Sequence[Offer] = (),
    handlers: "Sequence[events.Subscription]" = (),
    subscriptions: Subscriptions | None = None,
    startup: Sequence[Hook] = (),
    background: Sequence[Background] = (),
    counts: "operations.Counts | None" = None,
    contribution: "operations.Contribution | None" = None,
    over: Mapping[str, str] | None = None,
    database: bool = True,
    body_limit_bytes: int | None = None,
    request_timeout_s: float | None = None,
    streams: Sequence[str] = (),
) -> FastAPI:
    """The app of one service.

    Args:
        routers: its doors, with full paths.
        mounts: apps of wire standards with their own error form, by path prefix (`standard_app`).
        offers: datasets it offers; only the exchange may read them.
        handlers: what it does with other services' events (`events.on`).
        subscriptions: datasets whose changes it has the exchange push to it, and what it does with them.
        startup: run once before the first request, after the database is there.
        background: run as long as the service does; one that ends with an error is started again.
        counts: how many of each thing are kept, for the start page and for checks; read by services alone.
        contribution: what it alone can tell its operators.
        over: what nobody needs any more of its own tables, by what it is: a statement that deletes at most $1
            rows of it, which the service's chores run.
        streams: path prefixes whose answers go on for long and have no request timeout.
    """
    mounts = dict(mounts or {})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            kit = await _start(name, stack, database=database)
            kit.contribution, kit.over = contribution, over or {}
            for part in (app, *mounts.values()):
                part.state.kit = kit
            for hook in startup:
                await hook(kit)
            tasks = [*background, *_own_background(database=database, handlers=handlers)]
            if subscriptions:
                tasks.append(subscribing(subscriptions))
            for task in tasks:
                running = asyncio.create_task(_kept_running(task, kit), name=f"{name}:{task.__name__}")
                stack.push_async_callback(stopped, running)
            yield

    app = FastAPI(
        title=title or f"Huimin {name}",
        description=description,
        version=operations.VERSION,
        lifespan=lifespan,
        openapi_url=f"{prefix_of(name)}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    install_handlers(app, render_problem)
    app.include_router(operations.router(name, prefix_of(name), counts))
    if database:
        app.include_router(offers_router(prefix_of(name), offers))
        app.include_router(events.events_router(prefix_of(name)))
    if subscriptions:
        app.include_router(inbox_router(name, prefix_of(name), subscriptions))
    for router in routers:
        app.include_router(router)
    for path, part in mounts.items():
        app.router.routes.append(StandardMount(path, part))
    app.add_middleware(
        Frame,
        service=name,
        renders={path: part.state.render for path, part in mounts.items()},
        body_limit_bytes=body_limit_bytes,
        request_timeout_s=request_timeout_s,
        streams=tuple(streams),
    )
    return app


async def open_kit(
    name: str, *, database: bool = True, settings: Settings | None = None
) -> tuple[Kit, AsyncExitStack]:
    """A Kit outside a request: for jobs and the command line. Close the stack when done."""
    stack = AsyncExitStack()
    try:
        return await _start(name, stack, database=database, settings=settings), stack
    except BaseException:
        await stack.aclose()
        raise


async def _start(
    name: str, stack: AsyncExitStack, *, database: bool, settings: Settings | None = None
) -> Kit:
    settings = settings or Settings()
    telemetry.configure(name, settings)
    calls = Calls(settings, name)
    stack.push_async_callback(calls.close)
    broker = redis_client.Redis.from_url(settings.redis_url or "redis://127.0.0.1:6379/0")
    stack.push_async_callback(broker.aclose)
    kit = Kit(
        name=name,
        settings=settings,
        calls=calls,
        redis=broker,
        stack=stack,
        tokens=TokenVerifier(
            issuer=settings.issuer,
            audience=name,
            seal_key=settings.secret_for(name, "seal"),
            fetch_keys=calls.fetch_keys,
            no_auth=settings.no_auth,
        ),
    )
    if database:
        kit.database = Database(settings, name)
        await kit.database.start()
        stack.push_async_callback(kit.database.stop)
        # Its own connection: a read that waits for its leaf may hold the last one of the pool.
        own = Database(settings, name, max_connections=1)
        await own.start()
        stack.push_async_callback(own.stop)
        kit.leaves = leaves.LeafBuffer(own)
        await kit.leaves.start()
        stack.push_async_callback(kit.leaves.stop)
        kit.jobs = jobs.Jobs(name)
    return kit


def _own_background(*, database: bool, handlers: "Sequence[events.Subscription]") -> list[Background]:
    found: list[Background] = [operations.operating]
    if database:
        found += [events.relay, jobs.poller]
    if handlers:

        async def consumer(kit: Kit) -> None:
            await events.consume(kit, handlers)

        found.append(consumer)
    return found


async def _kept_running(task: Background, kit: Kit) -> None:
    """Runs a background task for as long as the service lives; its failure is logged and it starts again."""
    pause = 0.2
    while True:
        began = time.monotonic()
        try:
            await task(kit)
            return
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the service must go on
            if time.monotonic() - began > 10.0:  # it ran well in between: this is a new trouble
                pause = 0.2
            telemetry.logger(kit.name).error(
                "background task failed",
                extra={"task": task.__name__, "error": repr(error), "again_in_s": pause},
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
