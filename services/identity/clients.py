"""Clients: who may ask for tokens, and the proof that it is them (`private_key_jwt`, RFC 7523)."""

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from services.identity import scopes
from services.identity.refusals import invalid_client
from services.identity.repository import access
from services.identity.shapes import ClientAnswer, ClientRequest
from services.kit import telemetry
from services.kit.client_keys import service_key
from services.kit.database import Database, Row, Transaction
from services.kit.principals import NOT_A_TOKEN
from services.kit.problems import Fault, Problem, unprocessable
from services.kit.purposes import PURPOSES
from services.kit.settings import Settings

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE_S = 300
LEEWAY_S = 5
WEB_CLIENT = "huimin-web"
WEB_CALLBACKS = ("/graphql", "/signin/callback", "/gateway/callback")
"""Paths at the suite's own origin where its pages take the code (gateway/pages)."""
LOOPBACK = frozenset({"127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Client:
    """A client that is registered, built in, or one of the suite's own services."""

    client_id: str
    kind: str
    name: str
    organisation: str | None = None
    area: str | None = None
    key: ECKey | None = None
    redirect_uris: tuple[str, ...] = ()

    @property
    def service(self) -> str | None:
        return self.client_id.removeprefix("service:") if self.kind == "service" else None

    @property
    def public(self) -> bool:
        return self.key is None

    @property
    def scopes(self) -> frozenset[str]:
        if self.service is not None:
            return scopes.SERVICES[self.service]
        return scopes.CLIENTS.get(self.kind, frozenset())

    @property
    def purposes(self) -> tuple[str, ...]:
        """What it may say its access is for; a kind of organisation means the first by saying nothing."""
        if self.service is not None:
            return tuple(PURPOSES)
        return scopes.CLIENT_PURPOSES.get(self.kind, ())

    def redirects_to(self, uri: str) -> bool:
        """Exact, but for the port of a native app's loopback address (RFC 8252 section 7.3)."""
        return uri in self.redirect_uris or any(_same_but_port(uri, known) for known in self.redirect_uris)


def _same_but_port(uri: str, known: str) -> bool:
    try:
        asked, allowed = urlsplit(uri), urlsplit(known)
    except ValueError:
        return False
    return (
        asked.scheme == allowed.scheme == "http"
        and asked.hostname == allowed.hostname
        and allowed.hostname in LOOPBACK
        and allowed.port is None
        and asked.username is None
        and asked[2:] == allowed[2:]
    )


class Clients:
    """Looks clients up and checks their assertions; each assertion is good once."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._services = {
            f"service:{name}": Client(f"service:{name}", "service", name, key=service_key(settings, name))
            for name in scopes.SERVICES
        }
        callbacks = tuple(origin + path for origin in _origins(settings) for path in WEB_CALLBACKS)
        self._web = Client(WEB_CLIENT, "app", "惠民 Huimin", redirect_uris=callbacks)

    async def find(self, client_id: str) -> Client | None:
        if client_id in self._services:
            return self._services[client_id]
        if client_id == WEB_CLIENT:
            return self._web
        async with self._database.read() as db:
            row = await access.client(db, client_id)
        return _of_row(row) if row is not None else None

    async def authenticated(self, form: dict[str, str]) -> Client:
        """The client behind a request: by its assertion, or by name alone if it is a public one.

        Raises:
            Problem: invalid_client, with the reason.
        """
        assertion, kind = form.get("client_assertion"), form.get("client_assertion_type")
        if assertion is None:
            client = await self.find(form.get("client_id", ""))
            if client is None or not client.public:
                raise invalid_client("send a client_assertion (private_key_jwt) signed with the client's key")
            return client
        if kind != ASSERTION_TYPE:
            raise invalid_client(f"client_assertion_type must be {ASSERTION_TYPE}")
        try:
            return await self._by_assertion(assertion, form.get("client_id"))
        except Problem as refused:
            telemetry.logger("identity").warning("client refused", extra={"reason": refused.detail})
            raise

    async def _by_assertion(self, assertion: str, named: str | None) -> Client:
        client_id = _issuer_of(assertion)
        if named is not None and named != client_id:
            raise invalid_client("client_id and the assertion's iss differ")
        client = await self.find(client_id)
        if client is None or client.key is None:
            raise invalid_client("no client with a key is registered under the assertion's iss")
        try:
            claims = jwt.decode(assertion, client.key, algorithms=["ES256"]).claims
        except NOT_A_TOKEN as error:
            raise invalid_client(f"the assertion's signature does not verify: {error}") from error
        expires = self._check(claims, client_id)
        async with self._database.transaction() as tx:
            first = await access.use_assertion(
                tx, client_id, claims["jti"], datetime.fromtimestamp(expires, UTC)
            )
        if not first:
            raise invalid_client("the assertion has been used before; sign a new one with a fresh jti")
        return client

    def _check(self, claims: dict[str, Any], client_id: str) -> float:
        now = time.time()
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience
        expires, jti = claims.get("exp"), claims.get("jti")
        accepted = {self._settings.issuer, f"{self._settings.issuer}/oauth/token"}
        if claims.get("sub") != client_id:
            raise invalid_client("the assertion's iss and sub must both be the client id")
        if not isinstance(audiences, list) or not audiences or not accepted.issuperset(map(str, audiences)):
            raise invalid_client(f"the assertion's aud must be {self._settings.issuer}/oauth/token alone")
        if not isinstance(expires, int | float) or isinstance(expires, bool):
            raise invalid_client("the assertion needs an exp")
        if expires + LEEWAY_S < now:
            raise invalid_client("the assertion has expired")
        if expires - LEEWAY_S > now + ASSERTION_LIFE_S:
            raise invalid_client(f"the assertion may live {ASSERTION_LIFE_S} s at most")
        if isinstance(claims.get("nbf"), int | float) and claims["nbf"] - LEEWAY_S > now:
            raise invalid_client("the assertion is not valid yet")
        if not isinstance(jti, str) or not 8 <= len(jti) <= 200:
            raise invalid_client("the assertion needs a jti of 8 to 200 characters")
        return float(expires)


def _origins(settings: Settings) -> list[str]:
    """The suite's own origin; at home, under both names of the loopback address."""
    parts = urlsplit(settings.public_url)
    if parts.hostname not in {"127.0.0.1", "localhost"}:
        return [settings.public_url]
    return [f"{parts.scheme}://{host}:{parts.port or 80}" for host in ("127.0.0.1", "localhost")]


def _issuer_of(assertion: str) -> str:
    """Who the assertion claims to be from: only to find the key it is then checked with."""
    try:
        found = orjson.loads(jws.extract_compact(assertion.encode()).payload or b"")["iss"]
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise invalid_client("the client_assertion is not a signed JWT with an iss") from error
    if not isinstance(found, str):
        raise invalid_client("the assertion's iss must be the client id")
    return found


def _of_row(row: Row) -> Client:
    return Client(
        row["client_id"],
        row["kind"],
        row["name"],
        row["organisation"],
        row["area"],
        ECKey.import_key(row["jwk"]) if row["jwk"] is not None else None,
        tuple(row["redirect_uris"]),
    )


async def register(tx: Transaction, *, request: ClientRequest, created_by: str) -> ClientAnswer:
    """A new client, under a fresh id that names its kind."""
    public = _checked_key(request)
    faults = [
        fault for place, uri in enumerate(request.redirect_uris) if (fault := _redirect_fault(place, uri))
    ]
    if request.kind == "app" and not request.redirect_uris:
        faults.append(Fault("an app needs at least one redirect_uri", field="redirect_uris", code="missing"))
    if request.kind != "app" and request.redirect_uris:
        faults.append(Fault("only an app has redirect_uris", field="redirect_uris", code="not_for_this_kind"))
    if faults:
        raise unprocessable("invalid_client_metadata", "the client cannot be registered", *faults)
    client_id = f"{request.kind}-{secrets.token_hex(8)}"
    await access.add_client(
        tx,
        client_id=client_id,
        kind=request.kind,
        name=request.name,
        organisation=request.organisation,
        area=request.area,
        jwk=public,
        redirect_uris=request.redirect_uris,
        created_by=created_by,
    )
    await tx.publish(
        "identity.client.registered",
        aggregate=f"client/{client_id}",
        data={"client_id": client_id, "kind": request.kind, "organisation": request.organisation},
        area=request.area,
    )
    return ClientAnswer(client_id=client_id, kind=request.kind, scopes=sorted(scopes.CLIENTS[request.kind]))


def _checked_key(request: ClientRequest) -> dict[str, Any] | None:
    if request.jwk is None:
        if request.kind == "app":
            return None
        raise _bad_key("missing", f"a client of kind {request.kind} needs a key")
    if "d" in request.jwk:
        raise _bad_key(
            "private_key", "send the public key only, and treat the private one just sent as exposed"
        )
    if request.jwk.get("kty") != "EC" or request.jwk.get("crv") != "P-256":
        raise _bad_key("unsupported_key", 'the key must be an EC key on P-256 (kty "EC", crv "P-256")')
    try:
        key = ECKey.import_key({name: request.jwk[name] for name in ("kty", "crv", "x", "y")})
        key.public_key.public_numbers()
        return dict(key.as_dict(private=False))
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise _bad_key("malformed_key", "x and y are not a point on P-256") from error


def _bad_key(code: str, message: str) -> Problem:
    return unprocessable("invalid_client_metadata", message, Fault(message, field="jwk", code=code))


_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")


def _redirect_fault(place: int, uri: str) -> Fault | None:
    """https, a native app's loopback address, or its own reverse-domain scheme (OAuth 2.1 section 2.3)."""
    with suppress(ValueError):  # of what is no address at all
        parts = urlsplit(uri)
        good = (
            (parts.scheme == "https" and bool(parts.hostname))
            or (parts.scheme == "http" and parts.hostname in LOOPBACK)
            or _SCHEME.fullmatch(parts.scheme) is not None
        )
        if good and not parts.fragment and not parts.username:
            return None
    message = "must be https, http on a loopback address, or a reverse-domain scheme, without a fragment"
    return Fault(message, path=f"redirect_uris.{place}", code="invalid_redirect_uri")
