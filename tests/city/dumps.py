"""What somebody holds who got away with the dumps of two services."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from services.kit.database import service_url
from services.kit.settings import Settings
from tests.support.suite import Suite

PERSONAL_ID = re.compile(r"\b[hp]1_([A-Z2-7]{26})\b")
"""A sector id, or a person's account as one service knows it, without the beginning they have in common."""
SHARED = 8


@dataclass(frozen=True)
class Dump:
    """Every row of a service's schema, as its own role may read it."""

    service: str
    rows: Mapping[str, list[str]]

    @property
    def ids(self) -> set[str]:
        """Every id of a person, wherever it stands."""
        return {id for rows in self.rows.values() for row in rows for id in PERSONAL_ID.findall(row)}

    @property
    def parts(self) -> set[str]:
        """Every run of eight characters in them."""
        return {id[at : at + SHARED] for id in self.ids for at in range(len(id) - SHARED + 1)}


def settings_of(suite: Suite) -> Settings:
    """With which the suite's services reach their database."""
    address = suite.home.state()["children"]["postgres"]["address"]
    host = urlsplit(address).netloc if "://" in address else address
    return Settings(secret=suite.home.secret(), database_url=f"postgresql://{host}/huimin")


async def dump(settings: Settings, service: str) -> Dump:
    connection = await asyncpg.connect(service_url(settings, service))
    try:
        tables = await connection.fetch(
            """select relname from pg_class
               where relnamespace = current_schema()::regnamespace and relkind = 'r'"""
        )
        rows = {
            name: [row[0] for row in await connection.fetch(f'select t::text from "{name}" t')]
            for (name,) in tables
        }
        return Dump(service, rows)
    finally:
        await connection.close()


async def rows_of(settings: Settings, service: str, sql: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(service_url(settings, service))
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


def joined(dumps: Iterable[Dump]) -> list[tuple[str, str, set[str]]]:
    """Pairs of dumps with what stands in the ids of both."""
    return [
        (one.service, other.service, shared)
        for one, other in combinations(dumps, 2)
        if (shared := one.parts & other.parts)
    ]


@dataclass(frozen=True)
class Reached:
    """How far a join on what two sectors say of the same people gets.

    Attributes:
        people: those of the first sector who have anybody in the second to be confused with.
        smallest: the k reached: the fewest people somebody was told apart from.
        alone: how many were told apart from everybody, k = 1.
        median: half of the people are among at most so many.
    """

    people: int
    smallest: int
    alone: int
    median: int

    def __str__(self) -> str:
        share = self.alone / self.people if self.people else 0.0
        return (
            f"{self.people} people: k = {self.smallest}, median {self.median}, "
            f"{self.alone} alone ({share:.0%})"
        )


def attack(first: Iterable[tuple[Any, ...]], second: Iterable[tuple[Any, ...]]) -> Reached:
    """Joins two sectors on what they both say: for each of the first, how many of the second it may be."""
    crowd = Counter(second)
    found = sorted(crowd[said] for said in first if said in crowd)
    return Reached(
        people=len(found),
        smallest=found[0] if found else 0,
        alone=sum(k == 1 for k in found),
        median=found[len(found) // 2] if found else 0,
    )
