"""The same model over whole tables: two sets linked, or the doubles in one found, by Splink on DuckDB.

Everything that takes Python (pinyin, the lunar calendar) is worked out once for each distinct value, so that
DuckDB runs SQL alone. Memory is bounded: DuckDB spills to `folder`, values and pairs pass in chunks.
Heavy: only for workers.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from services.identity.linkage.columns import column_names, columns_of
from services.identity.linkage.joining import grouped, one_to_one
from services.identity.linkage.model import Model
from services.identity.linkage.splink_form import LinkType, to_splink

CHUNK = 50_000  # values or pairs held in Python at a time
RECORDS_A_CHUNK = 250_000  # weighed against all others at a time
PAIRS = "pairs"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found: `joined` without anybody looking, `review` for a clerk (both in pairs)."""

    records: int
    candidates: int
    joined: int
    review: int
    groups: int


@contextmanager
def database(folder: Path, *, memory_mb: int = 400, threads: int = 2) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of its own on disk under `folder`; what it wrote of people is gone afterwards."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "memory_limit": f"{memory_mb}MB",
        "autoinstall_known_extensions": False,
        "preserve_insertion_order": False,
    }
    with (
        TemporaryDirectory(prefix="linkage-", dir=folder) as own,
        closing(duckdb.connect(f"{own}/linkage.duckdb", config=settings)) as db,
    ):
        db.execute(f"set temp_directory = {quoted(Path(own))}")
        db.execute("set enable_progress_bar = false")
        yield db


def prepare(db: duckdb.DuckDBPyConnection, model: Model, source: str, table: str) -> None:
    """Makes `table` of what the model compares of each record of `source`.

    Args:
        source: what stands after FROM: a table, or `read_parquet('…')`, with a column `id` and one for each
            field of the model, all text; an empty text counts as missing.
    """
    fields = ", ".join(f"nullif(trim({field}), '') as {field}" for field in model.fields)
    db.execute(
        f"create table {table}_said as select row_number() over (order by id) as unique_id,"
        f" id::varchar as id, {fields} from {source}"
    )
    joins, chosen = [], ["said.unique_id", "said.id"]
    for field, kind in model.fields.items():
        used = [column for column in column_names(field, kind) if column in model.used_columns]
        _derive(db, model, table, field, used)
        joins.append(f"left join {table}_{field} on {table}_{field}.said = said.{field}")
        chosen += [f'{table}_{field}."{column}"' for column in used]
    db.execute(f"create table {table} as select {', '.join(chosen)} from {table}_said said {' '.join(joins)}")
    for rest in ("said", *model.fields):
        db.execute(f"drop table {table}_{rest}")


def _derive(db: duckdb.DuckDBPyConnection, model: Model, table: str, field: str, used: Sequence[str]) -> None:
    """A table of a field's distinct values and their columns: as text where it is read, else as a hash."""
    kind, target = model.fields[field], f"{table}_{field}"
    text = {column: column in model.text_columns for column in used}
    types = ", ".join(f"{column} {'varchar' if text[column] else 'ubigint'}" for column in used)
    db.execute(f"create table {target} (said varchar, {types})")
    stored = ", ".join(
        column if text[column] else f"case when {column} is not null then hash({column}) end"
        for column in used
    )
    values = db.cursor().execute(f"select distinct {field} from {table}_said where {field} is not null")
    while chunk := values.fetchmany(CHUNK):
        said = [value for (value,) in chunk]
        found = [columns_of(field, kind, value) for value in said]
        arrays = {"said": said} | {column: [each[column] for each in found] for column in used}
        columns = {name: pa.array(part, pa.string()) for name, part in arrays.items()}
        _insert(db, target, pa.table(columns), f"said, {stored}")


def _insert(db: duckdb.DuckDBPyConnection, table: str, rows: pa.Table, stored: str = "*") -> None:
    db.register("incoming", rows)
    db.execute(f"insert into {table} select {stored} from incoming")
    db.unregister("incoming")


def weigh_pairs(db: duckdb.DuckDBPyConnection, model: Model, tables: Sequence[str]) -> None:
    """Makes the table `pairs` (l, r, weight, verdict) of every candidate pair at review or above.

    One table is looked through for doubles, two are linked.
    """
    found = splink_linker(db, model, tables).inference.predict(
        threshold_match_weight=model.verdicts.review,
        num_chunks_left=1 + sum(count(db, table) for table in tables) // RECORDS_A_CHUNK,
        warning_mode="never",
    )
    db.execute(
        f"create or replace table {PAIRS} as select unique_id_l as l, unique_id_r as r,"
        f" match_weight as weight, {_verdict(model)} as verdict from {found.physical_name}"
    )
    found.drop_table_from_database_and_remove_from_cache()


def splink_linker(db: duckdb.DuckDBPyConnection, model: Model, tables: Sequence[str]) -> Any:
    """Splink's linker over prepared tables."""
    from splink import Linker
    from splink.backends.duckdb import DuckDBAPI

    kind: LinkType = "dedupe_only" if len(tables) == 1 else "link_only"
    api = DuckDBAPI(db)
    inputs = [api.register(table, dataset_display_name=table) for table in tables]
    return Linker(inputs, to_splink(model, kind), log_level=None, validate_settings=False)


def _verdict(model: Model) -> str:
    """`Model.verdict` in SQL, over Splink's gammas: levels count down to 0, which is everything else."""
    rules = model.verdicts
    gammas = {
        (comparison.name, level.level): f"gamma_{comparison.name} = {place}"
        for comparison in model.comparisons
        for place, level in enumerate(reversed(comparison.levels))
    }
    agreeing = " + ".join(
        f"({gammas[comparison.name, level.level]})::int"
        for comparison in model.comparisons
        if comparison.name in rules.supporting
        for level in comparison.levels
        if level.agrees
    )
    barred = [gammas[name, level] for name, levels in rules.never_auto.items() for level in levels]
    return (
        f"case when match_weight >= {rules.auto} and {agreeing} >= {rules.auto_needs}"
        f" and not ({' or '.join(barred) or 'false'}) then 'auto'"
        f" when {agreeing} >= {rules.review_needs} then 'review' else 'none' end"
    )


def dedupe(model: Model, source: str, folder: Path, *, memory_mb: int = 400, threads: int = 2) -> Outcome:
    """Finds the doubles in one set; writes `groups.parquet` (id, person) and `review.parquet` to `folder`.

    A group never holds two records with different sure identifiers (`Verdicts.exclusive`): the pair that
    would join them goes to review instead.
    """
    with database(folder, memory_mb=memory_mb, threads=threads) as db:
        prepare(db, model, source, "people")
        model = model.for_population(count(db, "people"))
        weigh_pairs(db, model, ["people"])
        sure: dict[int, str] = {}
        for value, valid in model.verdicts.exclusive.items():
            sure |= rows(
                db,
                f"select unique_id, {value} from people where {valid} is not null and unique_id in"
                f" (select unnest([l, r]) from {PAIRS} where verdict = 'auto')",
            )
        people, refused = grouped(rows(db, _AUTO), sure)
        _put_groups(db, people)
        for pair in refused:
            db.execute(f"update {PAIRS} set verdict = 'review' where l = {pair[0]} and r = {pair[1]}")
        _write(
            db,
            "select p.id, g.person from groups g join people p using (unique_id)",
            folder / "groups.parquet",
        )
        _write(db, _named("people", "people", "verdict = 'review'"), folder / "review.parquet")
        return Outcome(
            count(db, "people"), count(db, PAIRS), *_verdicts(db), groups=len(set(people.values()))
        )


def alike(
    model: Model, source: str, folder: Path, *, memory_mb: int = 400, threads: int = 2
) -> tuple[Path, int]:
    """Every pair of one set that is alike enough for review or more: a Parquet file (id_l, id_r, weight,
    verdict) in `folder`, the heaviest first, and how many there are."""
    target = folder / "alike.parquet"
    with database(folder, memory_mb=memory_mb, threads=threads) as db:
        prepare(db, model, source, "people")
        weigh_pairs(db, model.for_population(count(db, "people")), ["people"])
        found = _named("people", "people", "verdict <> 'none'")
        _write(db, f"{found} order by weight desc, id_l, id_r", target)
        return target, sum(_verdicts(db))


def link(
    model: Model, left: str, right: str, folder: Path, *, memory_mb: int = 400, threads: int = 2
) -> Outcome:
    """Links two sets, neither with doubles in it; writes `links.parquet` and `review.parquet` to `folder`.

    Each record is linked at most once: the heaviest pairs come first.
    """
    with database(folder, memory_mb=memory_mb, threads=threads) as db:
        prepare(db, model, left, "people")
        prepare(db, model, right, "pushed")
        model = model.for_population(count(db, "people"))
        weigh_pairs(db, model, ["people", "pushed"])
        chosen = one_to_one(rows(db, _AUTO))
        db.execute("create table links (l bigint, r bigint)")
        _insert(db, "links", pa.table({"l": [one for one, _ in chosen], "r": [other for _, other in chosen]}))
        taken = "(l, r) in (select (l, r) from links)"
        _write(db, _named("people", "pushed", taken), folder / "links.parquet")
        _write(db, _named("people", "pushed", "verdict = 'review'"), folder / "review.parquet")
        records = count(db, "people") + count(db, "pushed")
        return Outcome(records, count(db, PAIRS), len(chosen), _verdicts(db)[1], groups=len(chosen))


_AUTO = f"select l, r from {PAIRS} where verdict = 'auto' order by weight desc, l, r"


def _named(left: str, right: str, where: str) -> str:
    return (
        f"select a.id as id_l, b.id as id_r, weight, verdict from {PAIRS} join {left} a on a.unique_id = l"
        f" join {right} b on b.unique_id = r where {where}"
    )


def _put_groups(db: duckdb.DuckDBPyConnection, people: Mapping[int, int]) -> None:
    db.execute("create table groups (unique_id bigint, person bigint)")
    _insert(db, "groups", pa.table({"unique_id": list(people), "person": list(people.values())}))


def _verdicts(db: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    found = dict(db.execute(f"select verdict, count(*) from {PAIRS} group by 1").fetchall())
    return found.get("auto", 0), found.get("review", 0)


def _write(db: duckdb.DuckDBPyConnection, sql: str, path: Path) -> None:
    db.execute(f"copy ({sql}) to {quoted(path)} (format parquet)")


def count(db: duckdb.DuckDBPyConnection, table: str) -> int:
    [(found,)] = db.execute(f"select count(*) from {table}").fetchall()
    return int(found)


def rows(db: duckdb.DuckDBPyConnection, sql: str) -> Iterator[tuple[Any, ...]]:
    """A query's rows, a chunk in memory at a time."""
    found = db.cursor().execute(sql)
    while chunk := found.fetchmany(CHUNK):
        yield from chunk


def quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
