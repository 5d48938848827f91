"""People signing in: accounts and passwords, sessions, authorization codes, refresh tokens.

Wrong guesses are counted by user name and by address; after a few the answer is the same for everybody,
right password or not, until the wait is over. A code or refresh token that comes a second time ends the
session it belongs to, because one of the two who hold it is a thief.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from services.identity import scopes
from services.identity.clients import WEB_CLIENT, Client
from services.identity.refusals import invalid_grant
from services.identity.repository import access
from services.identity.shapes import AccountAnswer, AccountRequest
from services.identity.tokens import SESSION, digest
from services.kit.database import Database, Row, Transaction
from services.kit.problems import Fault, Problem, unprocessable
from services.kit.settings import Settings

CODE_LIFE = timedelta(seconds=60)
FREE_FAILURES = 5
LOCK_S = 30.0
LONGEST_LOCK_S = 900.0
FREE_FAILURES_PER_ADDRESS = 100
ADDRESS_LOCK_S = 60.0
FORGET_S = 1800.0


class SignInRefused(Exception):
    """Wrong name or password, or too many tries; which of the first two is never said."""

    def __init__(self, *, wait_s: int = 0) -> None:
        super().__init__("wait" if wait_s else "wrong")
        self.wait_s = wait_s


class Passwords:
    """argon2id at OWASP's settings (19 MiB each), off the event loop."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._nobodys = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, kept: str | None, password: str) -> bool:
        """Takes the same time when there is no such account."""
        right = await asyncio.to_thread(self._matches, kept or self._nobodys, password)
        return right and kept is not None

    def _matches(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (Argon2Error, InvalidHashError):
            return False


@dataclass(frozen=True)
class Doorman:
    """Checks passwords and counts failures.

    Two at a time, each from looking at the lock to counting the failure: guesses that come in by the hundred
    at once are then counted one by one, and memory stays bounded.
    """

    database: Database
    passwords: Passwords
    key: bytes
    gate: asyncio.Semaphore

    @classmethod
    def of(cls, database: Database, settings: Settings) -> "Doorman":
        key = settings.secret_for("identity", "signin-failures")
        return cls(database, Passwords(), key, asyncio.Semaphore(2))

    async def sign_in(self, username: str, password: str, address: str) -> Row:
        """The account.

        Raises:
            SignInRefused: wrong, or too many failures; then with the seconds to wait.
        """
        by_name, by_address = self._key("name", username.strip().lower()), self._key("address", address)
        async with self.gate:
            async with self.database.read() as db:
                until = await access.locked_until(db, [by_name, by_address])
                account = await access.account_by_username(db, username.strip())
            if until is not None:
                raise SignInRefused(wait_s=max(1, int((until - datetime.now(UTC)).total_seconds())))
            right = await self.passwords.verify(account["password_hash"] if account else None, password)
            if account is None or not right:
                raise SignInRefused(wait_s=await self._count(by_name, by_address))
        async with self.database.transaction() as tx:
            await access.forget_failures(tx, by_name)
        return account

    def _key(self, kind: str, value: str) -> bytes:
        return hmac.digest(self.key, f"{kind}\x1f{value}".encode(), "sha256")

    async def _count(self, by_name: bytes, by_address: bytes) -> int:
        async with self.database.transaction() as tx:
            failures = await access.count_failure(tx, by_name, forget_s=FORGET_S)
            from_there = await access.count_failure(tx, by_address, forget_s=FORGET_S)
            wait_s = 0.0
            if failures >= FREE_FAILURES:
                wait_s = min(LONGEST_LOCK_S, LOCK_S * 2 ** min(failures - FREE_FAILURES, 10))
                await access.lock(tx, by_name, lock_s=wait_s)
            if from_there >= FREE_FAILURES_PER_ADDRESS:
                await access.lock(tx, by_address, lock_s=ADDRESS_LOCK_S)
                wait_s = max(wait_s, ADDRESS_LOCK_S)
        return int(wait_s)


def session_scopes(client: Client, account: Row, asked: Collection[str]) -> frozenset[str]:
    """What the session may do: for the suite's own pages all the person may, for an app what it asked."""
    everything = scopes.of_session(account["kind"], account["roles"])
    openid = scopes.OPENID.intersection(asked)
    wanted = frozenset(asked) - scopes.OPENID
    if client.client_id == WEB_CLIENT and (not wanted or scopes.MINE in wanted):
        return openid | everything
    return openid | scopes.narrowed(everything, wanted)[0]


async def open_session(
    tx: Transaction,
    *,
    account: Row,
    client: Client,
    asked: Collection[str],
    redirect_uri: str,
    code_challenge: str,
    nonce: str | None,
) -> str:
    """A session and the code that the client gets it with."""
    now = datetime.now(UTC)
    session_id, code = uuid4(), secrets.token_urlsafe(32)
    await access.add_session(
        tx,
        session_id=session_id,
        account_id=account["id"],
        client_id=client.client_id,
        scope=" ".join(sorted(session_scopes(client, account, asked))),
        auth_time=now,
        expires_at=now + SESSION,
    )
    await access.add_code(
        tx,
        code_hash=digest(code),
        session_id=session_id,
        redirect_uri=redirect_uri,
        code_challenge=code_challenge,
        nonce=nonce,
        expires_at=now + CODE_LIFE,
    )
    return code


@dataclass(frozen=True)
class Redeemed:
    """A session to issue tokens for, or why not; the refusal may itself have ended a session."""

    session: Row | None = None
    nonce: str | None = None
    refusal: Problem | None = None


async def redeem_code(
    tx: Transaction, *, client: Client, code: str, redirect_uri: str | None, verifier: str
) -> Redeemed:
    """The authorization code's session, once, for the client and address it was made for, with PKCE."""
    row = await access.lock_code(tx, digest(code))
    if row is None or row["client_id"] != client.client_id:
        return Redeemed(refusal=invalid_grant("the code is not known, or was given to another client"))
    if row["used_at"] is not None:
        await access.revoke_session(tx, row["session_id"])
        return Redeemed(refusal=invalid_grant("the code has been used before; the session has been ended"))
    await access.use_code(tx, row["code_hash"])
    if row["expires_at"] <= datetime.now(UTC):
        return Redeemed(refusal=invalid_grant("the code has expired; sign in again"))
    if redirect_uri is not None and redirect_uri != row["redirect_uri"]:
        return Redeemed(refusal=invalid_grant("redirect_uri is not the one the code was sent to"))
    if not hmac.compare_digest(challenge_of(verifier), row["code_challenge"]):
        return Redeemed(refusal=invalid_grant("code_verifier does not belong to the code_challenge"))
    return await _of_session(tx, row["session_id"], row["nonce"])


async def redeem_refresh_token(tx: Transaction, *, client: Client, token: str) -> Redeemed:
    """The session of a refresh token that has not been used; each is used once (OAuth 2.1 section 4.3.1)."""
    row = await access.lock_refresh_token(tx, digest(token))
    if row is None or row["client_id"] != client.client_id:
        return Redeemed(refusal=invalid_grant("the refresh token is not known, or is another client's"))
    if row["used_at"] is not None:
        await access.revoke_session(tx, row["session_id"])
        return Redeemed(
            refusal=invalid_grant("the refresh token has been used before; the session has been ended")
        )
    if row["expires_at"] <= datetime.now(UTC):
        return Redeemed(refusal=invalid_grant("the refresh token has expired; sign in again"))
    await access.use_refresh_token(tx, row["token_hash"])
    return await _of_session(tx, row["session_id"], None)


async def _of_session(tx: Transaction, session_id: UUID, nonce: str | None) -> Redeemed:
    session = await access.live_session(tx, session_id)
    if session is None:
        return Redeemed(refusal=invalid_grant("the session has ended; sign in again"))
    return Redeemed(session=session, nonce=nonce)


def challenge_of(verifier: str) -> str:
    """PKCE S256 (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


async def add_account(
    tx: Transaction, passwords: Passwords, *, request: AccountRequest, pid: UUID | None
) -> AccountAnswer:
    """An account by user name (the demo's) or an outside issuer's subject; a known one is updated."""
    unknown = [role for role in request.roles if role not in scopes.ROLES]
    if unknown:
        raise unprocessable(
            "unknown_role", f"no role {', '.join(unknown)}; known are {', '.join(scopes.ROLES)}"
        )
    if request.kind == "staff" and not request.areas:
        message = "a staff account needs the areas it is responsible for; 000000 is the whole country"
        raise unprocessable("areas_missing", message, Fault(message, field="areas", code="missing"))
    if (request.username is None) != (request.password is None):
        raise unprocessable("incomplete_account", "username and password belong together")
    if request.username is None and request.external is None:
        raise unprocessable("incomplete_account", "an account needs username and password, or external")
    outside = request.external
    known = await access.account_by_external(tx, outside.issuer, outside.subject) if outside else None
    if known is not None:
        await access.update_account(
            tx, known["id"], roles=request.roles, areas=request.areas, organisation=request.organisation
        )
        return AccountAnswer(account_id=known["id"], created=False)
    row = await access.upsert_account(
        tx,
        account_id=f"u_{secrets.token_hex(12)}",
        kind=request.kind,
        username=request.username,
        password_hash=await passwords.hash(request.password) if request.password else None,
        roles=request.roles,
        areas=request.areas,
        organisation=request.organisation,
        pid=pid,
    )
    if outside is not None:
        await access.add_external(tx, outside.issuer, outside.subject, row["id"])
    return AccountAnswer(account_id=row["id"], created=row["created"])
