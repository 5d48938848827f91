"""Makes a database fit for the suite: extensions, a role and a schema for each service, migrations, grants.

Safe to run at every start and from several places; the same for the embedded server and for one that was
there already (HUIMIN_DATABASE_URL). Run apart as `python -m services.stack migrate`, so that the supervisor
does not carry the libraries.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from services.kit.database import password_of, role_of
from services.kit.settings import Settings
from services.stack.house import STORING, Service
from services.stack.terminal import Refusal

EXTENSIONS = ("pg_trgm", "btree_gist")
OLDEST_SERVER = 150000
SCRAM_ITERATIONS = 4096
AUDIT_READER = "huimin_audit"
_ONE_AT_A_TIME = 0x6875696D696E  # "huimin", a key for pg_advisory_lock


@dataclass(frozen=True)
class Provisioned:
    """What a run did, for the line that is printed.

    Attributes:
        applied: migration steps applied now, by service.
    """

    server: str
    applied: dict[str, list[str]]


async def provision(
    settings: Settings, services: tuple[Service, ...] = STORING, *, create_database: bool = False
) -> Provisioned:
    """Brings the database of `settings.database_url` to where the services need it.

    Args:
        services: whose schemas are migrated now; roles and empty schemas are made for all.
        create_database: the server is ours: make the database, and let nobody else connect to it.

    Raises:
        Refusal: the server cannot be reached, is too old, lacks an extension, or compares no Chinese.
    """
    if create_database:
        await _create_database(settings.database_url)
    connection = await _connect(settings.database_url)
    try:
        await connection.execute("select pg_advisory_lock($1::bigint)", _ONE_AT_A_TIME)
        version = await connection.fetchval("show server_version")
        _check_version(int(await connection.fetchval("show server_version_num")))
        await _create_extensions(connection)
        await _check_similarity(connection)
        for service in STORING:
            await _create_roles(connection, service, settings, ours=create_database)
        applied = await _migrate(settings, services)
        for service in services:
            await _let_audit_read(connection, service)
    finally:
        await connection.close()
    return Provisioned(server=str(version), applied=applied)


async def _connect(url: str) -> Any:
    address = urlsplit(url).netloc.rpartition("@")[2]
    try:
        return await asyncpg.connect(url, timeout=15.0)
    except asyncpg.InvalidPasswordError as error:
        raise Refusal(
            f"数据库 {address} 拒绝了密码 · the database refused the password: the home's secret is not the "
            "one it was made with, or HUIMIN_DATABASE_URL is wrong"
        ) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise Refusal(
            f"数据库不存在 ({address}) · {error}: create it, or correct HUIMIN_DATABASE_URL"
        ) from error
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise Refusal(
            f"无法连接数据库 {address} · cannot connect ({error}): check HUIMIN_DATABASE_URL"
        ) from error


async def _create_database(url: str) -> None:
    parts = urlsplit(url)
    name = parts.path.strip("/")
    connection = await _connect(urlunsplit(parts._replace(path="/postgres")))
    try:
        if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
            await connection.execute(f'create database "{name}"')
            await connection.execute(f'revoke all on database "{name}" from public')
    finally:
        await connection.close()


def _check_version(number: int) -> None:
    if number < OLDEST_SERVER:
        raise Refusal(
            f"PostgreSQL {number // 10000} 太旧, 需要 15 或更新 · the server is too old: "
            "use PostgreSQL 15 or newer"
        )


async def _create_extensions(connection: Any) -> None:
    for extension in EXTENSIONS:
        try:
            await connection.execute(f"create extension if not exists {extension} with schema public")
        except asyncpg.PostgresError as error:
            raise Refusal(
                f"无法启用扩展 {extension} · the extension cannot be enabled ({error}): install PostgreSQL's "
                f"contrib package, or let an administrator run: create extension {extension} schema public"
            ) from error


async def _check_similarity(connection: Any) -> None:
    """A database made with plain C locale finds no letters in Chinese names: every search would be empty."""
    found = await connection.fetchval("select public.similarity('张伟明', '张伟')")
    if found <= 0.2:
        raise Refusal(
            f"此数据库的区域设置无法比较中文 · this database's locale cannot compare Chinese "
            f"(similarity('张伟明','张伟') is {found:g}): create it with LC_CTYPE 'C.UTF-8' or 'zh_CN.UTF-8'"
        )


async def _create_roles(connection: Any, service: Service, settings: Settings, *, ours: bool) -> None:
    """The service's role, and that of each schema it keeps apart: a member of it, never the reverse."""
    await _create_role(connection, service.name, password_of(settings, service.name), ours=ours)
    for inner in service.inner:
        password = password_of(settings, service.name, inner)
        await _create_role(connection, inner, password, ours=ours, member_of=service.name)


async def _create_role(
    connection: Any, schema: str, password: str, *, ours: bool, member_of: str | None = None
) -> None:
    role = role_of(schema)
    path = f"{member_of}, {schema}" if member_of else schema
    verifier = scram_verifier(password)
    exists = await connection.fetchval("select 1 from pg_roles where rolname = $1", role)
    verb = "alter" if exists else "create"
    try:
        await connection.execute(f"{verb} role {role} login password '{verifier}'")
        await connection.execute(f"alter role {role} set search_path = {path}, public")
        if not await connection.fetchval("select rolsuper from pg_roles where rolname = current_user"):
            await connection.execute(f"grant {role} to current_user")
        await connection.execute(f"create schema if not exists {schema} authorization {role}")
        await connection.execute(f"revoke all on schema {schema} from public")
        if member_of:
            await connection.execute(f"grant {role_of(member_of)} to {role}")
        if ours:
            database = await connection.fetchval("select quote_ident(current_database())")
            await connection.execute(f"grant connect, temporary on database {database} to {role}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise Refusal(
            f"数据库用户权限不足 · the database user may not make the role {role} ({error}): use one with "
            "CREATEROLE and CREATE on the database in HUIMIN_DATABASE_URL"
        ) from error


async def _migrate(settings: Settings, services: tuple[Service, ...]) -> dict[str, list[str]]:
    from services.kit.migrations import migrate

    applied = {}
    for service in services:
        steps = await migrate(settings, service.name, service.package, next(iter(service.inner), None))
        if steps:
            applied[service.name] = steps
    return applied


async def _let_audit_read(connection: Any, service: Service) -> None:
    """The access leaves of every service, and nothing else of it, are open to the audit's sequencer.

    After the migrations, table by table: default privileges would open every table to come.
    """
    leaf = f"{service.schema}.leaf"
    if service.role != AUDIT_READER and await connection.fetchval("select to_regclass($1)", leaf):
        await connection.execute(f"grant usage on schema {service.schema} to {AUDIT_READER}")
        await connection.execute(f"grant select on {leaf} to {AUDIT_READER}")


def scram_verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (RFC 5803), sent instead of it: no log then sees the password."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{salt64}${stored64}:{server64}"
