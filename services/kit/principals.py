"""Who asks: the bearer token's subject, checked once at the door and carried along.

Tokens are JWTs of `services/identity` (ES256). The audience names the services a token is good for; the
sector id of a person is sealed (JWE) to the one service that may know it.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import Depends
from fastapi.requests import HTTPConnection
from joserfc import jwe, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey

from services.kit import telemetry
from services.kit.areas import area_prefix
from services.kit.disk import check_room
from services.kit.problems import Problem, forbidden, unauthenticated

Kind = Literal["organisation", "person", "staff", "service", "anonymous"]
LEEWAY_S = 5
CACHED_S = 30
"""A verified token is believed this long without looking at its signature again."""
CACHED_TOKENS = 4096
NOT_A_TOKEN = (JoseError, ValueError, TypeError)
"""What decoding a forged token ends with; joserfc raises TypeError for a header of odd types."""
EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, for which organisation, with which rights.

    Attributes:
        subject: pseudonymous for people (pairwise, never a citizen number); the client id otherwise.
        organisation: code of the organisation acted for.
        scopes: what the token grants at this service.
        areas: GB/T 2260 codes the rights are limited to, 000000 for the whole country; empty means
            everywhere, for staff nowhere.
        sector_ids: the person's ids in this service's sector, unsealed: the one given out now first, then
            those of entries of the register that were decided to be the same person.
        service: the calling service's name where the caller is one of ours.
        token: the bearer token itself, to be handed on.
    """

    kind: Kind
    subject: str
    client_id: str = ""
    organisation: str | None = None
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    areas: tuple[str, ...] = ()
    purpose: str | None = None
    sector_ids: tuple[str, ...] = ()
    service: str | None = None
    expires_at: float = float("inf")
    token: str | None = field(default=None, repr=False)

    @property
    def sector_id(self) -> str | None:
        """The person's id in this service's sector that is given out now: what is written is written with it.
        What is the person's own is read by all of `sector_ids`."""
        return next(iter(self.sector_ids), None)

    def may(self, *scopes: str) -> bool:
        """Whether any one of the scopes is granted."""
        return EVERYTHING in self.scopes or not self.scopes.isdisjoint(scopes)

    @property
    def area_prefixes(self) -> tuple[str, ...] | None:
        """What the codes of the areas within these rights begin with; None for everywhere."""
        found = tuple(map(area_prefix, self.areas))
        return None if "" in found or (not found and self.kind != "staff") else found

    def may_area(self, area: str | None) -> bool:
        found = self.area_prefixes
        return found is None or (area is not None and area.startswith(found))

    @property
    def unguarded(self) -> bool:
        """Whether this is everybody, while the suite runs with --no-auth."""
        return EVERYTHING in self.scopes


ANONYMOUS = Principal(kind="anonymous", subject="anonymous")
UNGUARDED = Principal(
    kind="organisation",
    subject="no-auth",
    client_id="no-auth",
    organisation="no-auth",
    scopes=frozenset({EVERYTHING}),
)
"""Everybody, when the suite runs with --no-auth for conformance tools on loopback."""


def seal(sector_id: str, key: bytes) -> str:
    """The sector id, readable by the service that holds the key alone (JWE, dir + A256GCM)."""
    return jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, sector_id.encode(), OctKey.import_key(key))


def unseal(sealed: str, key: bytes) -> str:
    """Raises JoseError when it was sealed to somebody else."""
    found = jwe.decrypt_compact(sealed, OctKey.import_key(key), algorithms=["dir", "A256GCM"])
    assert found.plaintext is not None
    return found.plaintext.decode()


class TokenVerifier:
    """Checks bearer tokens for one service against the issuer's published keys."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        seal_key: bytes,
        fetch_keys: Callable[[], Awaitable[Any]],
        no_auth: bool = False,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._seal_key = seal_key
        self._fetch_keys = fetch_keys
        self._no_auth = no_auth
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    async def principal(self, authorization: str | None) -> Principal:
        """The principal of an Authorization header; ANONYMOUS without one.

        Raises:
            Problem: 401 with the reason.
        """
        if self._no_auth:
            return await self._unguarded(authorization)
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise unauthenticated(
                "send the token as 'Authorization: Bearer <token>'", error="invalid_request"
            )
        return await self.verify(token.strip())

    async def _unguarded(self, authorization: str | None) -> Principal:
        """Everybody may do everything; yet a genuine token says who asks, as between the services."""
        scheme, _, token = (authorization or "").partition(" ")
        try:
            return await self.verify(token.strip()) if scheme.lower() == "bearer" else UNGUARDED
        except Problem:
            return UNGUARDED

    async def verify(self, token: str) -> Principal:
        """Raises Problem 401 unless the token is genuine, current and meant for this service."""
        cached = self._known.get(token)
        if cached and time.monotonic() < cached[0] and time.time() < cached[1].expires_at + LEEWAY_S:
            return cached[1]
        try:
            principal = self._principal_of(await self._claims(token), token)
        except Problem as refused:
            telemetry.logger(self._audience).warning("token refused", extra={"reason": refused.detail})
            raise
        self._known[token] = (time.monotonic() + CACHED_S, principal)
        if len(self._known) > CACHED_TOKENS:
            self._known.popitem(last=False)
        return principal

    async def _claims(self, token: str) -> dict[str, Any]:
        for attempt in (1, 2):
            keys = await self._key_set(refresh=attempt == 2)
            try:
                claims = jwt.decode(token, keys, algorithms=["ES256"]).claims
            except NOT_A_TOKEN as error:
                # A key that is not known yet may just have been rotated in: look once more.
                if attempt == 1 and time.monotonic() - self._fetched_at > 1.0:
                    continue
                raise unauthenticated(f"the token cannot be verified: {error}") from error
            self._check(claims)
            return claims
        raise AssertionError("unreachable")

    async def _key_set(self, *, refresh: bool) -> KeySet:
        if self._keys is None or refresh or time.monotonic() - self._fetched_at > 300:
            self._keys = KeySet.import_key_set(await self._fetch_keys())
            self._fetched_at = time.monotonic()
        return self._keys

    def _check(self, claims: dict[str, Any]) -> None:
        now = time.time()
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience
        if claims.get("iss") != self._issuer:
            raise unauthenticated(f"the token's issuer is not {self._issuer}")
        if not isinstance(audiences, list) or self._audience not in audiences:
            raise unauthenticated(f"the token is for another audience; this is {self._audience}")
        if not isinstance(claims.get("exp"), int | float) or claims["exp"] + LEEWAY_S < now:
            raise unauthenticated("the token has expired; ask for a new one")
        if isinstance(claims.get("nbf"), int | float) and claims["nbf"] - LEEWAY_S > now:
            raise unauthenticated("the token is not valid yet")

    def _principal_of(self, claims: dict[str, Any], token: str) -> Principal:
        client_id = str(claims.get("client_id", ""))
        service = client_id.removeprefix("service:") if client_id.startswith("service:") else None
        return Principal(
            kind=claims.get("kind", "anonymous"),
            subject=str(claims["sub"]),
            client_id=client_id,
            organisation=claims.get("org"),
            scopes=frozenset(str(claims.get("scope", "")).split()),
            roles=frozenset(claims.get("roles", ())),
            areas=tuple(claims.get("areas", ())),
            purpose=claims.get("purpose"),
            sector_ids=self._sector_ids(claims.get("sid")),
            service=service,
            expires_at=float(claims["exp"]),
            token=token,
        )

    def _sector_ids(self, sealed: str | None) -> tuple[str, ...]:
        if sealed is None:
            return ()
        try:
            return tuple(unseal(sealed, self._seal_key).split())
        except NOT_A_TOKEN as error:
            raise unauthenticated("the sector id in the token is sealed to another service") from error


async def current_principal(connection: HTTPConnection) -> Principal:
    """The caller, ANONYMOUS when there is no token (FastAPI dependency)."""
    found = getattr(connection.state, "principal", None)
    if found is None:
        verifier: TokenVerifier = connection.app.state.kit.tokens
        found = await verifier.principal(connection.headers.get("authorization"))
        if found.kind == "organisation":
            scope = connection.scope
            check_room(connection.app.state.kit.settings, scope["method"], scope["path"])
        connection.state.principal = found
    assert isinstance(found, Principal)
    return found


def refusal(principal: Principal, scopes: Iterable[str], kinds: Iterable[Kind]) -> Problem | None:
    """Why this caller may not pass, or None: the one rule behind `allowed`."""
    wanted, accepted = tuple(scopes), tuple(kinds)
    if principal.kind == "anonymous":
        return unauthenticated("this needs a bearer token", error="invalid_token")
    if wanted and not principal.may(*wanted):
        return forbidden(f"the token lacks the scope {' or '.join(wanted)}", code="insufficient_scope")
    if accepted and principal.kind not in accepted and EVERYTHING not in principal.scopes:
        return forbidden(
            f"this is for {' and '.join(accepted)} callers; the token is of kind {principal.kind}"
        )
    return None


def allowed(*scopes: str, kinds: tuple[Kind, ...] = ()) -> Any:
    """Dependency: the caller, holding any one of the scopes and being of one of the kinds.

    Use as `who: Annotated[Principal, allowed("transport:readings:write")]`.
    """

    async def check(principal: Annotated[Principal, Depends(current_principal)]) -> Principal:
        problem = refusal(principal, scopes, kinds)
        if problem is not None:
            raise problem
        return principal

    return Depends(check)


Anyone = Annotated[Principal, Depends(current_principal)]
