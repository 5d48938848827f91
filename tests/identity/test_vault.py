"""The vault: under a role of its own, out of the reach of identity's, filled with what was there before."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from shutil import copy
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.identity import migrations
from services.identity.register import Register
from services.identity.repository import people
from services.identity.vault import vault_of
from services.kit.database import Database, service_url
from services.kit.migrations import migrate
from services.kit.settings import Settings
from services.stack.house import named
from services.stack.provision import provision
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person
from tests.support.databases import TestServers

TABLES = ("identifier", "link", "sector_key", "sector_id")
IDENTITY = (named("identity"),)


@pytest.mark.parametrize("table", TABLES)
async def test_identitys_own_role_sees_nothing_of_it(db: Callable[[str], Awaitable[Any]], table: str) -> None:
    connection = await db("identity")
    for statement in (
        f"select * from vault.{table}",
        f"delete from vault.{table}",
        f"create view mine as select * from vault.{table}",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.execute(f"select * from {table}")


async def test_identitys_own_role_cannot_become_it(db: Callable[[str], Awaitable[Any]]) -> None:
    connection = await db("identity")
    for statement in (
        "set role huimin_vault",
        "set session authorization huimin_vault",
        "grant huimin_vault to huimin_identity",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_other_services_see_nothing_of_it(identity: Identity, servers: TestServers) -> None:
    url = identity.kit.settings.database_url
    for service in ("health", "exchange", "audit"):
        connection = await asyncpg.connect(service_url(Settings(database_url=url), service))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("select * from vault.identifier")
        await connection.close()


async def test_what_the_doors_write_is_one_commit(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People stand in one schema, their numbers and ids in another; half of a push is never there."""

    async def fails(*_: Any) -> None:
        raise RuntimeError("the last statement of the push")

    http = await identity.as_service("health")
    push = {"people": [person("1", (CITIZEN_NUMBER, citizen_number()))]}
    with monkeypatch.context() as broken:
        broken.setattr(people, "remember_sector_ids", fails)
        assert (await http.post("/identity/resolve", json=push)).status_code == 500
    for table in ("person", "vault.identifier", "vault.sector_id"):
        assert await identity.rows(f"select from {table}") == [], table
    assert await identity.leaves("persons.resolved") == []
    assert (await http.post("/identity/resolve", json=push)).json()["people"][0]["outcome"] == "created"
    for table in ("person", "vault.identifier", "vault.sector_id"):
        assert len(await identity.rows(f"select from {table}")) == 1, table


async def test_the_pool_of_the_doors_cannot_read_a_number(identity: Identity) -> None:
    async with identity.kit.db.read() as db:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.fetch("select * from vault.identifier")
    async with vault_of(identity.kit).read() as db:
        assert await db.fetch("select * from vault.identifier") == []


# --- a home from before the vault --------------------------------------------------------------------


@pytest.fixture
async def before(servers: TestServers, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a database as it was at 0002, with a person, identifiers, a key and an id."""
    old = tmp_path / "identity_at_0002" / "migrations"
    old.mkdir(parents=True)
    for step in ("__init__.py", "0001_first.py", "0002_leaf_members_read.py"):
        copy(Path(migrations.__path__[0]) / step, old / step)
    await servers.execute("create database at_0002 template template0")
    url = servers.admin_url("at_0002")
    settings = Settings(database_url=url)
    with pytest.MonkeyPatch.context() as path:
        path.syspath_prepend(str(tmp_path))
        await provision(settings, ())
        connection = await asyncpg.connect(url)
        await connection.execute("drop schema vault")
        await migrate(settings, "identity", "identity_at_0002")
        await connection.execute(
            """set search_path = identity;
               insert into person (pid, name) values ('00000000-0000-0000-0000-000000000007', '张伟');
               insert into identifier (scheme, value_hmac, value_enc, pid, source)
                   select 'urn:x', '\\x01', '\\x02', pid, 'before' from person;
               insert into link (source_system, local_hmac, local_enc, pid, source)
                   select 'urn:y', '\\x03', '\\x04', pid, 'before' from person;
               insert into sector_id (id, sector, version, pid)
                   select 'h1_BEFORE', 'health', 1, pid from person"""
        )
        await connection.close()
        yield url
    sys.modules.pop("identity_at_0002", None)
    await servers.execute("drop database at_0002 with (force)")


async def test_a_home_from_before_it_is_moved_with_its_rows(before: str) -> None:
    settings = Settings(database_url=before)
    done = await provision(settings, IDENTITY)
    assert done.applied["identity"][:2] == ["0003", "0004"]
    assert (await provision(settings, IDENTITY)).applied == {}
    vault = Database(settings, "identity", inner="vault")
    await vault.start()
    try:
        async with vault.transaction() as tx:
            found = await people.pids_by_identifier(tx, [("urn:x", b"\x01")])
            found |= await people.pids_by_link(tx, [("urn:y", b"\x03")], "a")
            assert set(found.values()) == {UUID(int=7)}
            assert await people.pids_by_sector_id(tx, "health", ["h1_BEFORE"]) == {"h1_BEFORE": UUID(int=7)}
            register = await Register.open(tx, settings)
            assert register.sectors.version("health") == 1
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                async with tx.savepoint():
                    await tx.execute("update vault.link set pid = gen_random_uuid()")
    finally:
        await vault.stop()
    own = await asyncpg.connect(service_url(settings, "identity"))
    assert await own.fetchval("select name from person") == "张伟"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await own.fetch("select * from vault.identifier")
    left = await own.fetch(
        "select relname from pg_class where relnamespace = 'identity'::regnamespace and relname = any($1)",
        list(TABLES),
    )
    assert left == []
    await own.close()
