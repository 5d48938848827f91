"""What is issued: tokens for clients, for people's sessions, and for one service each (RFC 8693).

`services/kit/principals.py` is the other side and reads exactly these claims. An access token is ES256,
names its services in `aud`, and carries a person's sector ids only sealed to the one service.
"""

import hashlib
import hmac
import secrets
import time
from base64 import b32encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import KeySet

from services.identity import persons, scopes
from services.identity.clients import Client
from services.identity.keys import SigningKeys
from services.identity.refusals import (
    invalid_grant,
    invalid_request,
    invalid_scope,
    invalid_target,
    unauthorized_client,
)
from services.identity.register import Register
from services.identity.repository import access
from services.kit.database import Row, Transaction
from services.kit.principals import NOT_A_TOKEN, seal
from services.kit.settings import Settings

CLIENT_TOKEN_S = 900
SESSION_TOKEN_S = 900
EXCHANGED_TOKEN_S = 300
REFRESH_TOKEN = timedelta(hours=8)
SESSION = timedelta(hours=12)
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
GATEWAY = "gateway"
WITH_SECTOR = frozenset({*scopes.DOMAINS, "exchange", "notify"})
"""Services that know people, each by its own sector's ids."""


@dataclass(frozen=True)
class Issuer:
    """Signs what identity says: its name, its keys, and how it seals to each service."""

    settings: Settings
    keys: SigningKeys

    @property
    def name(self) -> str:
        return self.settings.issuer

    async def sign(self, claims: Mapping[str, Any], *, life_s: int, kind: str = "at+jwt") -> str:
        key = await self.keys.signer()
        now = int(time.time())
        said = {"iss": self.name, "iat": now, "exp": now + life_s, "jti": secrets.token_hex(16), **claims}
        header = {"alg": "ES256", "kid": key.kid, "typ": kind}
        return jwt.encode(header, {k: v for k, v in said.items() if v is not None}, key)

    def seal(self, sector_id: str, service: str) -> str:
        return seal(sector_id, self.settings.secret_for(service, "seal"))

    def pairwise(self, account: str, service: str) -> str:
        """A person's account as one service knows it: the same name in two services' logs would join their
        dumps as surely as the same id. Identity itself goes by the account."""
        if service == "identity":
            return account
        key = self.settings.secret_for("identity", "pairwise")
        digest = hmac.digest(key, f"{service}\x1f{account}".encode(), "sha256")
        return f"p1_{b32encode(digest)[:26].decode()}"

    async def read(self, token: str) -> dict[str, Any] | None:
        """The claims of an access token of ours that has not expired; None for anything else."""
        keys: KeySet = await self.keys.key_set()
        try:
            found = jwt.decode(token, keys, algorithms=["ES256"])
        except NOT_A_TOKEN:
            return None
        claims = found.claims
        expires = claims.get("exp")
        genuine = found.header.get("typ") == "at+jwt" and claims.get("iss") == self.name
        return claims if genuine and isinstance(expires, int) and expires > time.time() else None


def digest(secret: str) -> bytes:
    """How codes and refresh tokens are kept: they are random, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).digest()


def asked_scopes(form: Mapping[str, str]) -> list[str] | None:
    return form["scope"].split() if form.get("scope", "").strip() else None


def _granted(available: Collection[str], asked: list[str] | None) -> frozenset[str]:
    if asked is None:
        return frozenset(available)
    given, refused = scopes.narrowed(available, asked)
    if refused:
        raise invalid_scope(f"not available to this client: {' '.join(sorted(refused))}")
    return given


def _purpose(client: Client, asked: str | None) -> str | None:
    """What the client's access is for: as it asks, or what its kind is for."""
    if asked is None:
        return None if client.service else next(iter(client.purposes), None)
    if asked not in client.purposes:
        known = ", ".join(client.purposes) or "none"
        raise invalid_request(f"purpose {asked[:40]} is not one of a {client.kind}'s; they are: {known}")
    return asked


async def for_client(
    issuer: Issuer, client: Client, asked: list[str] | None, purpose: str | None = None
) -> dict[str, Any]:
    """Client credentials (RFC 6749 section 4.4) for an organisation or one of our own services.

    Args:
        purpose: code of `services/kit/purposes.py`; what the client's kind is for by default.
    """
    if client.public:
        raise unauthorized_client("client credentials need a client with a key")
    granted = _granted(client.scopes, asked)
    if not granted:
        raise unauthorized_client(f"a client of kind {client.kind} has no rights of its own")
    audiences = {service for scope in granted for service in scopes.audiences_of(scope)}
    if client.service is not None:
        # Some doors between the services ask for no scope, only that one of us calls.
        audiences.update(scopes.SERVICES)
    token = await issuer.sign(
        {
            "sub": client.client_id,
            "client_id": client.client_id,
            "kind": "service" if client.service else "organisation",
            "org": client.organisation,
            "areas": [client.area] if client.area else None,
            "aud": sorted(audiences),
            "scope": " ".join(sorted(granted)),
            "purpose": _purpose(client, purpose),
        },
        life_s=CLIENT_TOKEN_S,
    )
    return _answer(token, CLIENT_TOKEN_S, granted)


async def for_session(
    tx: Transaction, issuer: Issuer, session: Row, *, nonce: str | None = None
) -> dict[str, Any]:
    """A session's access token (for the gateway alone), its next refresh token, and its id token."""
    scope = str(session["scope"])
    account: str = session["account_id"]
    life = min(SESSION_TOKEN_S, int((session["expires_at"] - datetime.now(UTC)).total_seconds()))
    token = await issuer.sign(
        {
            "sub": account,
            "client_id": session["client_id"],
            "kind": session["kind"],
            "org": session["organisation"],
            "roles": list(session["roles"]) or None,
            "areas": list(session["areas"]) or None,
            "aud": [GATEWAY],
            "scope": scope,
            "ses": str(session["session_id"]),
        },
        life_s=life,
    )
    refresh = secrets.token_urlsafe(32)
    until = min(session["expires_at"], datetime.now(UTC) + REFRESH_TOKEN)
    await access.add_refresh_token(tx, digest(refresh), session["session_id"], until)
    answer = _answer(token, life, scope.split()) | {"refresh_token": refresh}
    if "openid" in scope.split():
        about = {
            "sub": account,
            "aud": session["client_id"],
            "auth_time": int(session["auth_time"].timestamp()),
            "nonce": nonce,
        }
        answer["id_token"] = await issuer.sign(about, life_s=life, kind="JWT")
    return answer


def _answer(token: str, life_s: int, granted: Collection[str]) -> dict[str, Any]:
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": life_s,
        "scope": " ".join(sorted(granted)),
    }


async def exchange(
    tx: Transaction, issuer: Issuer, register: Register, client: Client, form: Mapping[str, str]
) -> dict[str, Any]:
    """The gateway gives a session's token and gets a short one for a single service (RFC 8693).

    Each exchange is a leaf: with the person as its subject, and the sector that the id was for.
    """
    if client.service != GATEWAY:
        raise unauthorized_client("only the gateway exchanges sessions")
    if form.get("subject_token_type") != ACCESS_TOKEN_TYPE:
        raise invalid_grant(f"subject_token_type must be {ACCESS_TOKEN_TYPE}")
    service = form.get("audience", "")
    if service not in scopes.SERVICES or service in {GATEWAY, "stack"}:
        raise invalid_target("audience must be one service of the suite")
    claims = await issuer.read(form.get("subject_token", ""))
    session = await _live_session(tx, claims)
    if claims is None or session is None:
        raise invalid_grant("the subject_token is no current session of this issuer")
    available = scopes.for_service(service, str(claims["scope"]).split())
    granted = _granted(available, asked_scopes(form))
    if not granted:
        raise invalid_target(f"the session may do nothing at {service}")
    life = min(EXCHANGED_TOKEN_S, int(claims["exp"] - time.time()))
    pid: UUID | None = session["pid"] if session["kind"] == "person" else None
    purpose = scopes.purpose_at(service, claims["kind"], claims.get("roles") or ())
    await tx.leaf(
        action="session.exchanged",
        subject=register.sectors.id_of("identity", pid) if pid is not None else None,
        resource=f"sectors/{service}",
        purpose=purpose,
    )
    token = await issuer.sign(
        {
            "sub": claims["sub"] if pid is None else issuer.pairwise(claims["sub"], service),
            "client_id": claims["client_id"],
            "kind": claims["kind"],
            "org": claims.get("org"),
            "roles": claims.get("roles"),
            "areas": claims.get("areas"),
            "aud": [service],
            "scope": " ".join(sorted(granted)),
            "purpose": purpose,
            "sid": await _sealed_ids(tx, issuer, register, service, pid),
            "act": {"sub": client.client_id},
        },
        life_s=life,
    )
    return _answer(token, life, granted) | {"issued_token_type": ACCESS_TOKEN_TYPE}


async def _sealed_ids(
    tx: Transaction, issuer: Issuer, register: Register, service: str, pid: UUID | None
) -> str | None:
    """The person's ids in the service's sector, readable by that service alone."""
    if pid is None or service not in WITH_SECTOR:
        return None
    return issuer.seal(" ".join(await persons.sector_ids_of(tx, register, sector=service, pid=pid)), service)


async def _live_session(tx: Transaction, claims: Mapping[str, Any] | None) -> Row | None:
    if claims is None or GATEWAY not in claims.get("aud", ()) or "ses" not in claims:
        return None
    if await access.is_revoked(tx, str(claims["jti"])):
        return None
    return await access.live_session(tx, UUID(str(claims["ses"])))


async def introspect(tx: Transaction, issuer: Issuer, client: Client, token: str) -> dict[str, Any]:
    """RFC 7662: what the token still means; `active: false` for every other reason alike."""
    inactive = {"active": False}
    claims = await issuer.read(token)
    if claims is not None:
        if client.service is None and claims.get("client_id") != client.client_id:
            return inactive
        if await access.is_revoked(tx, str(claims["jti"])):
            return inactive
        if "ses" in claims and await _live_session(tx, claims) is None:
            return inactive
        return {"active": True, "token_type": "Bearer", **{k: v for k, v in claims.items() if k != "sid"}}
    row = await access.lock_refresh_token(tx, digest(token))
    if row is None or row["used_at"] is not None or row["expires_at"] <= datetime.now(UTC):
        return inactive
    if client.service is None and row["client_id"] != client.client_id:
        return inactive
    session = await access.live_session(tx, row["session_id"])
    if session is None:
        return inactive
    return {
        "active": True,
        "client_id": session["client_id"],
        "sub": session["account_id"],
        "scope": session["scope"],
        "exp": int(row["expires_at"].timestamp()),
    }


async def revoke(tx: Transaction, issuer: Issuer, client: Client, token: str) -> None:
    """RFC 7009. A refresh token ends its whole session; an unknown token is no error."""
    row = await access.lock_refresh_token(tx, digest(token))
    if row is not None:
        if row["client_id"] == client.client_id:
            await access.revoke_session(tx, row["session_id"])
        return
    claims = await issuer.read(token)
    if claims is not None and claims.get("client_id") == client.client_id:
        expires = datetime.fromtimestamp(claims["exp"], UTC)
        await access.revoke_token(tx, str(claims["jti"]), expires)
