"""How services call each other: one httpx API, in memory when embedded, over the network when separate.

DomainError             what a call can end with; `code` is one of CODES
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, ClassVar, TypeVar

import httpx
import orjson
from joserfc import jwt
from joserfc.jwk import ECKey

from services.kit import telemetry
from services.kit.client_keys import service_key
from services.kit.clocks import Ending
from services.kit.settings import Settings

DEADLINE_S = 10.0
TRANSPORT_TIMEOUT_S = 600.0
BREAKER_FAILURES = 5
BREAKER_OPEN_S = 2.0
CONNECTIONS = 32

_CODE_OF_STATUS = {
    307: "NOT_FOUND",  # what the router says of an address with a slash too many or too few
    400: "BAD_USER_INPUT",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "BAD_USER_INPUT",
    410: "NOT_FOUND",
    413: "BAD_USER_INPUT",
    422: "BAD_USER_INPUT",
    429: "RATE_LIMITED",
    503: "SERVICE_UNAVAILABLE",
    504: "TIMEOUT",
    507: "SERVICE_UNAVAILABLE",
}
CODES = frozenset(_CODE_OF_STATUS.values()) | {"INTERNAL"}

C = TypeVar("C", bound="ServiceClient")

Token = str | Callable[[], Awaitable[str]] | None
"""A bearer token, or where to get one that is current (a subscription outlives short tokens)."""


class DomainError(Exception):
    """A call to another service that did not succeed: which service, the code, its own words."""

    def __init__(
        self, service: str, code: str, detail: str, *, status: int = 0, problem: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{service}: {detail}")
        self.service = service
        self.code = code
        self.detail = detail
        self.status = status
        self.problem = problem or {}

    @property
    def retry_after_s(self) -> float | None:
        value = self.problem.get("retry_after")
        return float(value) if value is not None else None


_in_memory: dict[str, Any] = {}


def answer_in_memory(apps: Mapping[str, Any]) -> None:
    """Embedded mode: these services are ASGI apps of this very process."""
    _in_memory.clear()
    _in_memory.update(apps)


@dataclass
class _Breaker:
    """Stops asking a service that keeps failing, for a moment, so that its callers answer at once."""

    failures: int = 0
    open_until: float = 0.0

    def check(self, service: str) -> None:
        if time.monotonic() < self.open_until:
            raise DomainError(service, "SERVICE_UNAVAILABLE", f"{service} does not answer; try again shortly")

    def count(self, *, failed: bool) -> None:
        self.failures = self.failures + 1 if failed else 0
        if self.failures >= BREAKER_FAILURES:
            self.open_until = time.monotonic() + BREAKER_OPEN_S


class Calls:
    """The calling side of one service (or of the command line, as service `stack`)."""

    def __init__(self, settings: Settings, service: str) -> None:
        self.settings = settings
        self.service = service
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._breakers: dict[str, _Breaker] = {}
        self._own: tuple[str, Ending] | None = None
        self._own_lock = asyncio.Lock()

    def client(self, kind: type[C], *, token: Token = None) -> C:
        """A typed client: as this service itself, or on behalf of the token's subject."""
        return kind(self, token)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def request(
        self,
        service: str,
        method: str,
        path: str,
        *,
        token: Token = None,
        anonymous: bool = False,
        deadline_s: float = DEADLINE_S,
        probe: bool = False,
        **kwargs: Any,
    ) -> httpx.Response:
        """One call under one deadline; reads are tried a second time when no connection came about.

        Args:
            probe: only asks whether the service is ready; its 503 then says nothing about other calls.

        Raises:
            DomainError: the service is unreachable, too slow, or answered 4xx or 5xx.
        """
        breaker = self._breakers.setdefault(service, _Breaker())
        breaker.check(service)
        try:
            # ASGITransport ignores httpx timeouts, and on the network they do not bound the sum of reads.
            async with asyncio.timeout(deadline_s):
                headers = dict(kwargs.pop("headers", None) or {}) | telemetry.outgoing_headers()
                if not anonymous:
                    current = await token() if callable(token) else token
                    headers["authorization"] = f"Bearer {current or await self.own_token()}"
                response = await self._send(service, method, path, headers=headers, **kwargs)
        except TimeoutError as error:
            breaker.count(failed=True)
            raise DomainError(service, "TIMEOUT", f"no answer within {deadline_s:g} s") from error
        except httpx.HTTPError as error:
            breaker.count(failed=True)
            raise DomainError(service, "SERVICE_UNAVAILABLE", "the service cannot be reached") from error
        if not probe:
            breaker.count(failed=response.status_code >= 500)
        if response.status_code >= 400 or response.is_redirect:
            raise _domain_error(service, response)
        return response

    async def _send(self, service: str, method: str, path: str, **kwargs: Any) -> httpx.Response:
        client = self._client_of(service)
        for attempt in (1, 2):
            try:
                return await client.request(method, path, **kwargs)
            except httpx.TransportError:
                if attempt == 2 or method != "GET":
                    raise
                await asyncio.sleep(random.uniform(0.02, 0.08))  # noqa: S311 - spreads retries, no secret
        raise AssertionError("unreachable")

    def _client_of(self, service: str) -> httpx.AsyncClient:
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = self._connect(service)
        return client

    def _connect(self, service: str) -> httpx.AsyncClient:
        # httpx's own timeout only backs up the deadline that `request` sets above the transport.
        options: dict[str, Any] = {"timeout": TRANSPORT_TIMEOUT_S, "cookies": _no_cookies()}
        if self.settings.mode == "separate":
            address = self.settings.address_of(service)
            return httpx.AsyncClient(transport=_network_transport(), base_url=address, **options)
        app = _in_memory.get(service)
        if app is None:
            raise DomainError(service, "SERVICE_UNAVAILABLE", f"{service} does not run in this process")
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=f"http://{service}.huimin", **options)

    async def own_token(self) -> str:
        """This service's own token (client credentials with a key derived from its secret, RFC 7523)."""
        async with self._own_lock:
            if self._own is None or self._own[1].over:
                self._own = await self._fetch_own_token()
            return self._own[0]

    async def _fetch_own_token(self) -> tuple[str, Ending]:
        form = {"grant_type": "client_credentials", **self.client_assertion()}
        response = await self._send("identity", "POST", "/oauth/token", data=form)
        if response.status_code != 200:
            raise _domain_error("identity", response)
        body = response.json()
        return body["access_token"], Ending.after(float(body["expires_in"]) - 30.0)

    def client_assertion(self) -> dict[str, str]:
        """The form fields with which this service proves who it is at the token endpoint."""
        key = service_key(self.settings, self.service)
        return {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": client_assertion(f"service:{self.service}", key, self.settings.issuer),
        }

    async def fetch_keys(self) -> Any:
        """The issuer's published keys, for TokenVerifier."""
        response = await self.request("identity", "GET", "/.well-known/jwks.json", anonymous=True)
        return response.json()


def client_assertion(client_id: str, key: ECKey, issuer: str, *, lifetime_s: int = 120) -> str:
    """A `private_key_jwt` for the token endpoint (RFC 7523 section 3): used once, short-lived."""
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": f"{issuer}/oauth/token",
        "iat": now,
        "exp": now + lifetime_s,
        "jti": f"{random.SystemRandom().getrandbits(128):032x}",
    }
    key.ensure_kid()
    header = {"alg": "ES256", "kid": key.kid}
    return jwt.encode(header, claims, key)


def _no_cookies() -> CookieJar:
    """A jar that takes nothing: one caller's cookie must never leave with another's call."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def _network_transport() -> httpx.AsyncBaseTransport:
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    def session() -> aiohttp.ClientSession:
        # aiohttp has a second jar of its own. The pool lets idle connections go before the servers do
        # (uvicorn keeps them for 75 s, services/stack/serve.py).
        return aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=15),
        )

    return AiohttpTransport(client=session)


def _domain_error(service: str, response: httpx.Response) -> DomainError:
    code = _CODE_OF_STATUS.get(response.status_code, "INTERNAL")
    try:
        problem = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        problem = {}
    problem = problem if isinstance(problem, dict) else {}
    if "retry-after" in response.headers:
        problem["retry_after"] = response.headers["retry-after"]
    # Only what a domain says about the input reaches the caller; its own troubles stay with it.
    detail = problem.get("detail") or problem.get("error_description") or f"answered {response.status_code}"
    if code == "INTERNAL":
        detail = f"answered {response.status_code}"
    return DomainError(service, code, str(detail), status=response.status_code, problem=problem)


class ServiceClient:
    """Base of the typed clients in each service's `client.py`; batch reads come first there."""

    service: ClassVar[str]

    def __init__(self, calls: Calls, token: Token = None) -> None:
        self.calls = calls
        self.token = token

    async def get(
        self, path: str, params: Mapping[str, Any] | None = None, *, deadline_s: float = DEADLINE_S
    ) -> Any:
        given = {k: v for k, v in (params or {}).items() if v is not None}
        response = await self.calls.request(
            self.service, "GET", path, token=self.token, params=given, deadline_s=deadline_s
        )
        return orjson.loads(response.content)

    async def post(self, path: str, body: Any = None, *, deadline_s: float = DEADLINE_S) -> Any:
        return await self._write("POST", path, body, deadline_s)

    async def put(self, path: str, body: Any = None, *, deadline_s: float = DEADLINE_S) -> Any:
        return await self._write("PUT", path, body, deadline_s)

    async def _write(self, method: str, path: str, body: Any, deadline_s: float) -> Any:
        response = await self.calls.request(
            self.service,
            method,
            path,
            token=self.token,
            content=orjson.dumps(body),
            headers={"content-type": "application/json"},
            deadline_s=deadline_s,
        )
        return orjson.loads(response.content) if response.content else None
