"""The models of transport and notify, and the databases that their migrations make, say the same."""

from importlib import import_module
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from services.kit.database import service_url
from services.kit.settings import Settings
from services.stack.house import named
from tests.support.databases import TestServers

IN_SQL_ALONE = {"remove_index", "remove_constraint", "add_constraint"}
"""Indexes and checks stand in the migrations: partial ones and BRIN are SQL, not Python."""


def differences(connection: Connection, metadata: MetaData) -> list[Any]:
    names = set(metadata.tables)
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_server_default": True,
            "include_object": lambda _o, name, kind, _r, _other: kind != "table" or name in names,
        },
    )
    found: list[Any] = []
    for one in compare_metadata(context, metadata):
        found += one if isinstance(one, list) else [one]
    return [one for one in found if one[0] not in IN_SQL_ALONE]


@pytest.mark.filterwarnings("ignore:Did not recognize type")  # of the kit's own tables
@pytest.mark.parametrize("service", ["transport", "notify"])
async def test_the_models_are_the_tables(servers: TestServers, service: str) -> None:
    await servers.migrate([named(service)])
    base = import_module(f"{named(service).package}.models").Base
    copy = MetaData()
    for table in base.metadata.sorted_tables:
        table.to_metadata(copy, schema=None, referred_schema_fn=lambda *_: None)
    url = service_url(Settings(), service).replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences, copy) == []
    await engine.dispose()
