"""Databases made fit for the suite, ours and those that were there already."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from services.kit.database import role_of, service_url
from services.kit.settings import Settings
from services.stack.house import STORING, named
from services.stack.provision import _check_version, provision, scram_verifier
from services.stack.terminal import Refusal
from tests.support.databases import TestServers
from tests.support.suite import running_suite

IDENTITY = (named("identity"),)


@pytest.fixture
async def empty(servers: TestServers) -> AsyncIterator[str]:
    """The URL of an empty database, as its administrator."""
    await servers.execute("create database empty template template0")
    yield servers.admin_url("empty")
    await servers.execute("drop database empty with (force)")


async def as_role(url: str, service: str, secret: str | None = None) -> asyncpg.Connection:
    settings = Settings(database_url=url)
    connection: asyncpg.Connection = await asyncpg.connect(service_url(settings, service))
    return connection


async def test_a_service_signs_in_with_its_own_password_to_its_own_schema(empty: str) -> None:
    await provision(Settings(database_url=empty), IDENTITY)
    connection = await as_role(empty, "identity")
    assert await connection.fetchval("select current_user") == "huimin_identity"
    assert await connection.fetchval("select current_schema()") == "identity"
    assert await connection.fetchval("select similarity('张伟明', '张伟')") > 0.2
    assert (
        await connection.fetchval(
            "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"
        )
        is False
    )
    await connection.close()


async def test_it_is_safe_to_repeat(empty: str) -> None:
    first = await provision(Settings(database_url=empty), IDENTITY)
    second = await provision(Settings(database_url=empty), IDENTITY)
    assert first.applied["identity"]
    assert second.applied == {}


async def test_a_service_cannot_look_into_anothers_schema(empty: str) -> None:
    await provision(Settings(database_url=empty), IDENTITY)
    connection = await as_role(empty, "health")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("select * from identity.person")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("select * from identity.leaf")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("create table public.mine (x int)")
    await connection.close()


async def test_the_audit_reads_leaves_and_nothing_else(empty: str) -> None:
    await provision(Settings(database_url=empty), IDENTITY)
    connection = await as_role(empty, "audit")
    assert await connection.fetch("select * from identity.leaf") == []
    for statement in ("select * from identity.person", "select * from identity.outbox"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(statement)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("delete from identity.leaf")
    await connection.close()


async def test_the_secret_decides_the_password(empty: str) -> None:
    await provision(Settings(database_url=empty), IDENTITY)
    other = Settings(database_url=empty, secret="another")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(service_url(other, "identity"))


async def test_a_database_that_compares_no_chinese_is_refused(servers: TestServers) -> None:
    await servers.execute("create database plain_c template template0 locale_provider libc locale 'C'")
    try:
        with pytest.raises(Refusal, match="cannot compare Chinese") as refused:
            await provision(Settings(database_url=servers.admin_url("plain_c")), IDENTITY)
        assert "LC_CTYPE" in str(refused.value)
        assert "\n" not in str(refused.value)
    finally:
        await servers.execute("drop database plain_c with (force)")


async def test_an_administrator_without_superpowers_is_enough(servers: TestServers) -> None:
    """As a managed database gives one out: CREATEROLE, and owner of one database."""
    await servers.execute("create role dba login createrole password 'dba-password'")
    await servers.execute("create database managed owner dba template template0")
    for role in [role for service in STORING for role in service.roles]:  # the test run's own admin's
        await servers.execute(f"grant {role} to dba with admin option, inherit true, set true")
    try:
        parts = urlsplit(servers.admin_url("managed"))
        host = parts.netloc.rpartition("@")[2]
        url = urlunsplit(parts._replace(netloc=f"dba:dba-password@{host}"))
        await provision(Settings(database_url=url), IDENTITY)
        connection = await as_role(url, "identity")
        assert await connection.fetch("select * from person") == []
        await connection.close()
    finally:
        await servers.execute("drop database managed with (force)")
        await servers.execute("drop owned by dba cascade")
        await servers.execute("drop role dba")


async def test_an_administrator_without_rights_is_refused_in_words(servers: TestServers) -> None:
    await servers.execute("create role nobody_much login password 'nobody-password'")
    await servers.execute("create database theirs template template0")
    try:
        parts = urlsplit(servers.admin_url("theirs"))
        url = urlunsplit(
            parts._replace(netloc=f"nobody_much:nobody-password@{parts.netloc.rpartition('@')[2]}")
        )
        with pytest.raises(Refusal, match=r"administrator|CREATEROLE"):
            await provision(Settings(database_url=url), IDENTITY)
    finally:
        await servers.execute("drop database theirs with (force)")
        await servers.execute("drop role nobody_much")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "/nowhere"}, "create it, or correct HUIMIN_DATABASE_URL"),
        ({"netloc": "postgres:wrong@{host}"}, "refused the password"),
        ({"netloc": "postgres:x@127.0.0.1:1"}, "cannot connect"),
    ],
    ids=["no such database", "wrong password", "nobody there"],
)
async def test_a_database_that_cannot_be_reached_is_one_line(
    servers: TestServers, change: dict[str, str], words: str
) -> None:
    parts = urlsplit(servers.admin_url("postgres"))
    change = {name: value.format(host=parts.netloc.rpartition("@")[2]) for name, value in change.items()}
    with pytest.raises(Refusal, match=words) as refused:
        await provision(Settings(database_url=urlunsplit(parts._replace(**change))), IDENTITY)
    assert "\n" not in str(refused.value)
    assert "wrong" not in str(refused.value).replace("is wrong", "")  # never the password


def test_an_old_server_is_refused() -> None:
    _check_version(150000)
    with pytest.raises(Refusal, match="use PostgreSQL 15 or newer"):
        _check_version(149999)


def test_a_scram_verifier_is_salted() -> None:
    assert scram_verifier("x").startswith("SCRAM-SHA-256$4096:")
    assert scram_verifier("x") != scram_verifier("x")


def test_roles_are_those_the_kit_signs_in_with() -> None:
    assert {service.role for service in STORING} == {role_of(service.name) for service in STORING}


async def test_up_on_servers_that_are_there_already(
    empty: str, servers: TestServers, public_folder: Path
) -> None:
    """HUIMIN_DATABASE_URL and HUIMIN_REDIS_URL: nothing embedded starts, nothing is in the home."""
    environment = {
        "HUIMIN_SERVICES": "identity",
        "HUIMIN_DATABASE_URL": empty,
        "HUIMIN_REDIS_URL": servers.servers.redis_url,
        "HUIMIN_SECRET": os.environ["HUIMIN_SECRET"],
    }
    with running_suite(public_folder, environment=environment, children=2) as suite:
        assert set(suite.home.state()["children"]) == {"app", "worker"}
        assert not (suite.home.path / "postgres").exists()
        assert not (suite.home.path / "secret").exists()
