"""SQL about keys, clients, accounts, sessions and what they were given."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

KEYS_LOCK = "identity signing keys"


async def lock_keys(db: Connection) -> None:
    await db.execute("select pg_advisory_xact_lock(hashtext($1))", KEYS_LOCK)


async def signing_keys(db: Connection) -> list[Row]:
    return await db.fetch("select * from signing_key order by created_at desc, kid")


async def add_signing_key(
    db: Connection, kid: str, state: str, public: dict[str, Any], sealed: bytes
) -> None:
    await db.execute(
        """insert into signing_key (kid, state, public_jwk, private_enc, activated_at)
           values ($1, $2, $3, $4, case when $2 = 'active' then now() end)""",
        kid,
        state,
        public,
        sealed,
    )


async def promote_keys(db: Connection) -> None:
    """active becomes retired, next becomes active."""
    await db.execute("update signing_key set state = 'retired', retired_at = now() where state = 'active'")
    await db.execute("update signing_key set state = 'active', activated_at = now() where state = 'next'")


async def drop_retired_keys(db: Connection, before: datetime) -> None:
    await db.execute("delete from signing_key where state = 'retired' and retired_at < $1", before)


async def add_client(
    db: Connection,
    *,
    client_id: str,
    kind: str,
    name: str,
    organisation: str | None,
    area: str | None,
    jwk: dict[str, Any] | None,
    redirect_uris: Sequence[str],
    created_by: str,
) -> None:
    await db.execute(
        """insert into client (client_id, kind, name, organisation, area, jwk, redirect_uris, created_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8)""",
        client_id,
        kind,
        name,
        organisation,
        area,
        jwk,
        redirect_uris,
        created_by,
    )


async def client(db: Connection, client_id: str) -> Row | None:
    return await db.fetchrow("select * from client where client_id = $1 and revoked_at is null", client_id)


async def use_assertion(db: Connection, client_id: str, jti: str, expires_at: datetime) -> bool:
    """Whether this assertion is seen for the first time."""
    return (
        await db.fetchval(
            """insert into used_assertion (client_id, jti, expires_at) values ($1, $2, $3)
               on conflict do nothing returning true""",
            client_id,
            jti,
            expires_at,
        )
        or False
    )


async def account(db: Connection, account_id: str) -> Row | None:
    return await db.fetchrow("select * from account where id = $1 and disabled_at is null", account_id)


async def account_by_username(db: Connection, username: str) -> Row | None:
    return await db.fetchrow("select * from account where username = $1 and disabled_at is null", username)


async def account_by_external(db: Connection, issuer: str, subject: str) -> Row | None:
    return await db.fetchrow(
        """select account.* from account join external_identity e on e.account_id = account.id
           where e.issuer = $1 and e.subject = $2 and disabled_at is null""",
        issuer,
        subject,
    )


async def upsert_account(
    db: Connection,
    *,
    account_id: str,
    kind: str,
    username: str | None,
    password_hash: str | None,
    roles: Sequence[str],
    areas: Sequence[str],
    organisation: str | None,
    pid: UUID | None,
) -> Row:
    row = await db.fetchrow(
        """insert into account (id, kind, username, password_hash, roles, areas, organisation, pid)
           values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (username) do update set
               kind = excluded.kind, password_hash = excluded.password_hash, roles = excluded.roles,
               areas = excluded.areas, organisation = excluded.organisation,
               pid = coalesce(excluded.pid, account.pid)
           returning id, (xmax = 0) as created""",
        account_id,
        kind,
        username,
        password_hash,
        roles,
        areas,
        organisation,
        pid,
    )
    assert row is not None
    return row


async def update_account(
    db: Connection, account_id: str, *, roles: Sequence[str], areas: Sequence[str], organisation: str | None
) -> None:
    await db.execute(
        "update account set roles = $2, areas = $3, organisation = $4 where id = $1",
        account_id,
        roles,
        areas,
        organisation,
    )


async def add_external(db: Connection, issuer: str, subject: str, account_id: str) -> None:
    await db.execute(
        "insert into external_identity (issuer, subject, account_id) values ($1, $2, $3)",
        issuer,
        subject,
        account_id,
    )


async def locked_until(db: Connection, keys: Sequence[bytes]) -> datetime | None:
    found = await db.fetchval(
        "select max(locked_until) from signin_failure where key = any($1) and locked_until > now()", keys
    )
    return found if isinstance(found, datetime) else None


async def count_failure(db: Connection, key: bytes, *, forget_s: float) -> int:
    """Failures in a row under this key; old ones are forgotten."""
    found = await db.fetchval(
        """insert into signin_failure as known (key, failures, last_at) values ($1, 1, now())
           on conflict (key) do update set
               failures = case when known.last_at < now() - make_interval(secs => $2) then 1
                               else known.failures + 1 end,
               last_at = now()
           returning failures""",
        key,
        forget_s,
    )
    return int(found)


async def lock(db: Connection, key: bytes, *, lock_s: float) -> None:
    await db.execute(
        "update signin_failure set locked_until = now() + make_interval(secs => $2) where key = $1",
        key,
        lock_s,
    )


async def forget_failures(db: Connection, key: bytes) -> None:
    await db.execute("delete from signin_failure where key = $1", key)


async def add_session(
    db: Connection,
    *,
    session_id: UUID,
    account_id: str,
    client_id: str,
    scope: str,
    auth_time: datetime,
    expires_at: datetime,
) -> None:
    await db.execute(
        """insert into session (id, account_id, client_id, scope, auth_time, expires_at)
           values ($1, $2, $3, $4, $5, $6)""",
        session_id,
        account_id,
        client_id,
        scope,
        auth_time,
        expires_at,
    )


async def add_code(
    db: Connection,
    *,
    code_hash: bytes,
    session_id: UUID,
    redirect_uri: str,
    code_challenge: str,
    nonce: str | None,
    expires_at: datetime,
) -> None:
    await db.execute(
        """insert into authorization_code
               (code_hash, session_id, redirect_uri, code_challenge, nonce, expires_at)
           values ($1, $2, $3, $4, $5, $6)""",
        code_hash,
        session_id,
        redirect_uri,
        code_challenge,
        nonce,
        expires_at,
    )


async def lock_code(db: Connection, code_hash: bytes) -> Row | None:
    return await db.fetchrow(
        """select c.*, s.client_id from authorization_code c join session s on s.id = c.session_id
           where c.code_hash = $1 for update of c""",
        code_hash,
    )


async def use_code(db: Connection, code_hash: bytes) -> None:
    await db.execute("update authorization_code set used_at = now() where code_hash = $1", code_hash)


async def add_refresh_token(
    db: Connection, token_hash: bytes, session_id: UUID, expires_at: datetime
) -> None:
    await db.execute(
        "insert into refresh_token (token_hash, session_id, expires_at) values ($1, $2, $3)",
        token_hash,
        session_id,
        expires_at,
    )


async def lock_refresh_token(db: Connection, token_hash: bytes) -> Row | None:
    return await db.fetchrow(
        """select r.*, s.client_id from refresh_token r join session s on s.id = r.session_id
           where r.token_hash = $1 for update of r""",
        token_hash,
    )


async def use_refresh_token(db: Connection, token_hash: bytes) -> None:
    await db.execute("update refresh_token set used_at = now() where token_hash = $1", token_hash)


async def live_session(db: Connection, session_id: UUID) -> Row | None:
    """The session with its account, unless ended, revoked or the account was disabled."""
    return await db.fetchrow(
        """select s.id as session_id, s.client_id, s.scope, s.auth_time, s.expires_at,
                  a.id as account_id, a.kind, a.roles, a.areas, a.organisation, a.pid
           from session s join account a on a.id = s.account_id
           where s.id = $1 and s.revoked_at is null and s.expires_at > now() and a.disabled_at is null""",
        session_id,
    )


async def revoke_session(db: Connection, session_id: UUID) -> None:
    await db.execute("update session set revoked_at = now() where id = $1 and revoked_at is null", session_id)


async def revoke_token(db: Connection, jti: str, expires_at: datetime) -> None:
    await db.execute(
        "insert into revoked_token (jti, expires_at) values ($1, $2) on conflict do nothing", jti, expires_at
    )


async def is_revoked(db: Connection, jti: str) -> bool:
    return bool(await db.fetchval("select exists (select from revoked_token where jti = $1)", jti))


async def purge(db: Connection) -> None:
    """What has expired and can no longer be replayed."""
    for statement in (
        "delete from used_assertion where expires_at < now() - interval '1 minute'",
        "delete from revoked_token where expires_at < now() - interval '1 minute'",
        "delete from session where expires_at < now() - interval '1 day'",
        "delete from signin_failure where last_at < now() - interval '1 day'",
    ):
        await db.execute(statement)
