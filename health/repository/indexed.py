"""The rows that resources are found by: written with each version, and anew when parameters change."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from health.repository.reach import Args
from health.versions import Index
from services.kit.database import Connection

# Decimals travel as text: PostgreSQL reads them faster than the driver writes them.
_COLUMNS = {
    "tok": ("hash bigint",),
    "ref": ("hash bigint", "key bigint", "target bigint"),
    "dat": ("key bigint", "lo bigint", "hi bigint"),
    "str": ("key bigint", "value text", "exact text"),
    "num": ("key bigint", "lo text numeric", "hi text numeric"),
    "qty": ("key bigint", "lo text numeric", "hi text numeric"),
    "uri": ("key bigint", "value text"),
    "pos": ("latitude float8", "longitude float8"),
}
_OF_INDEX = ("pk bigint", "pt bigint")


def insertions(args: Args, indexed: Iterable[tuple[int, int, Index]]) -> Iterator[str]:
    """Statements, one for each table, that add the rows of resources.

    Args:
        indexed: pk and pt of each resource, with what it is found by.
    """
    for table, columns in _columns(indexed).items():
        yield insertion(args, table, (*_COLUMNS[table], *_OF_INDEX), columns)


async def copy(db: Connection, indexed: Iterable[tuple[int, int, Index]]) -> None:
    """Adds the rows of many resources."""
    args = Args()
    statements: list[str] = []
    for table, columns in _columns(indexed).items():
        kinds = (*_COLUMNS[table], *_OF_INDEX)
        if any(kind.endswith("numeric") for kind in kinds):
            statements.append(insertion(args, table, kinds, columns))
        else:
            await db.copy_records_to_table(
                table, records=zip(*columns, strict=True), columns=[kind.split()[0] for kind in kinds]
            )
    if statements:
        await db.execute(together(statements), *args.values)


def together(statements: Iterable[str]) -> str:
    """As one statement, because a visit's dozen rows cost less than the round trips of several."""
    parts = [f"added_{n} as ({sql})" for n, sql in enumerate(statements)]
    return f"with {', '.join(parts)} select"


def _columns(indexed: Iterable[tuple[int, int, Index]]) -> dict[str, list[list[Any]]]:
    """The rows of each table that has any, column by column."""
    found: dict[str, list[list[Any]]] = {
        table: [[] for _ in (*columns, *_OF_INDEX)] for table, columns in _COLUMNS.items()
    }
    for pk, pt, index in indexed:
        _add(found["tok"], [index.tokens], len(index.tokens), pk, pt)
        for table, rows in (
            ("ref", index.references),
            ("dat", index.dates),
            ("str", index.strings),
            ("num", index.numbers),
            ("qty", index.quantities),
            ("uri", index.uris),
            ("pos", [index.position] if index.position is not None else []),
        ):
            if rows:
                _add(found[table], zip(*rows, strict=True), len(rows), pk, pt)
    return {table: columns for table, columns in found.items() if columns[0]}


def _add(columns: list[list[Any]], more: Iterable[Sequence[Any]], rows: int, pk: int, pt: int) -> None:
    for column, values in zip(columns, (*more, [pk] * rows, [pt] * rows), strict=True):
        column += values


def insertion(args: Args, table: str, kinds: Sequence[str], columns: Iterable[Sequence[Any]]) -> str:
    """A statement that adds rows, given column by column.

    Args:
        kinds: of each column the name, the type in which it travels and, where another, the one kept.
    """
    said = [kind.split() for kind in kinds]
    names = ", ".join(name for name, *_ in said)
    kept = ", ".join(f"{name}::{types[-1]}" if len(types) > 1 else name for name, *types in said)
    given = ", ".join(
        f"{args(column)}::{types[0]}[]" for (_, *types), column in zip(said, columns, strict=True)
    )
    return f"insert into {table} ({names}) select {kept} from unnest({given}) as given ({names})"


async def reindex(db: Connection, indexed: Sequence[tuple[int, int, Index]]) -> None:
    """Replaces the rows of resources."""
    await forget(db, [pk for pk, _, _ in indexed])
    await copy(db, indexed)


async def forget(db: Connection, pks: Sequence[int]) -> None:
    for table in _COLUMNS:
        await db.execute(f"delete from {table} where pk = any($1)", list(pks))
