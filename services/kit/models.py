"""Tables of a service, declared once with SQLModel in the service's own schema."""

from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import SQLModel


def tables(schema: str) -> type[SQLModel]:
    """The base class of a service's tables: `class Zone(Base, table=True)`.

    Each service gets metadata and a registry of its own, so that two services may both have an
    `Organisation`, and so that the schema can be compared with the migrated database service by service.
    """

    class Base(SQLModel, registry=registry(metadata=MetaData(schema=schema))):
        metadata = MetaData(schema=schema)

    return Base


def metadata_of(base: type[SQLModel]) -> MetaData:
    metadata: Any = base.metadata
    assert isinstance(metadata, MetaData)
    return metadata
