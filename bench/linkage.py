"""Linkage: doubles found among generated persons, in a process of its own, and the FEBRL 4 sets linked.

The register and later records of a tenth of its people (bench/_persons.py) are looked through as one set.
Time is from the files to the written groups; memory is the process's highest resident set. Precision and
recall are of pairs, in percent, against who the records are really of. Beside it: joining on the citizen
number as written.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from bench._persons import write
from bench._report import Size, run

PEOPLE = {"small": 100_000, "full": 1_000_000}
AGAIN = 0.1
SEED = 1  # not the training's
LIMIT_S, LIMIT_MB = 60, 1_000
FEBRL = Path(__file__).resolve().parents[2] / "shared/data/febrl4"
FEBRL_F1 = 0.999
AGES = ((0, 17), (18, 39), (40, 64), (65, 120))
THIS_YEAR = 2026


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="huimin-linkage-") as name:
        folder = Path(name)
        sources = write(folder, people=PEOPLE[size], again=AGAIN, seed=SEED)
        source = " union all ".join(f"select * from read_parquet('{path}')" for path in sources)
        worked = _apart(_dedupe, f"({source})", folder)
        figures, peer = _judged(folder, source)
        if FEBRL.exists():
            figures |= _apart(_febrl, folder)
            peer |= {"febrl4_f1": f"at least {FEBRL_F1}"}
    limits = {"seconds": f"limit {LIMIT_S}", "peak_mb": f"limit {LIMIT_MB}"}
    return {"figures": worked | figures | _one_pair(), "peer": limits | peer}


def _apart(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """In a new process: nothing of this one's memory is counted."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _dedupe(source: str, folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    from services.identity.linkage.batch import dedupe
    from services.identity.linkage.model import load

    found = dedupe(load(), source, folder)
    seconds = time.perf_counter() - began
    spent = {"seconds": round(seconds, 1), "cpu_seconds": round(time.process_time(), 1)}
    return {**asdict(found), **spent, "peak_mb": _peak_mb()}


def _peak_mb() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _judged(folder: Path, source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Precision and recall of the groups, by age and kind of name; the same of the peer."""
    db = duckdb.connect()
    db.execute(f"create table said as select * from ({source})")
    db.execute(f"create table grouped as select * from read_parquet('{folder}/groups.parquet')")
    db.execute(f"create table shown as select * from read_parquet('{folder}/review.parquet')")
    db.execute(
        "create table true_pairs as select a.id as l, b.id as r, a.born, a.people,"
        " a.citizen_number = b.citizen_number as same"
        " from said a join said b on a.truth = b.truth and a.id < b.id"
    )
    db.execute(
        "create table joined as select a.id as l, b.id as r from grouped a join grouped b"
        " on a.person = b.person and a.id < b.id"
    )
    db.execute("create table waiting as select least(id_l, id_r) as l, greatest(id_l, id_r) as r from shown")
    groups = {
        f"{low}-{high}": f"{THIS_YEAR} - year(born::date) between {low} and {high}" for low, high in AGES
    }
    groups |= {"names_with_·": "people = 'uyghur'", "tibetan_names": "people = 'tibetan'"}
    figures = {
        "precision": _percent(db, _PRECISION),
        **_recalls(db, "true"),
        "review_precision": _percent(db, _SHOWN),
    }
    for name, where in groups.items():
        figures |= {f"precision {name}": _percent(db, _precision_where(where))}
        figures |= {f"{key} {name}": value for key, value in _recalls(db, where).items()}
    return figures, _peer(db)


_PRECISION = (
    "select avg((exists (from true_pairs t where t.l = joined.l and t.r = joined.r))::int) from joined"
)
_SHOWN = (
    "select avg((exists (from true_pairs t where t.l = waiting.l and t.r = waiting.r))::int) from waiting"
)


def _precision_where(where: str) -> str:
    return f"{_PRECISION} join said on said.id = joined.r where {where}"


def _recalls(db: duckdb.DuckDBPyConnection, where: str) -> dict[str, float]:
    found = "exists (from {0} j where j.l = t.l and j.r = t.r)"
    joined, waiting = found.format("joined"), found.format("waiting")
    share = f"select avg(({{}})::int) from true_pairs t where {where}"
    return {
        "recall": _percent(db, share.format(joined)),
        "recall_with_review": _percent(db, share.format(f"{joined} or {waiting}")),
    }


def _peer(db: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    same = "from said a join said b on a.citizen_number = b.citizen_number and a.id < b.id"
    began = time.perf_counter()
    precision = _percent(db, f"select avg((a.truth = b.truth)::int) {same}")
    seconds = time.perf_counter() - began
    recall = _percent(db, "select avg(coalesce(same, false)::int) from true_pairs")
    return {"precision": precision, "recall": recall, "join_s": round(seconds, 1)}


def _percent(db: duckdb.DuckDBPyConnection, sql: str) -> float:
    [(found,)] = db.execute(sql).fetchall()
    return round(100 * float(found), 3)


def _febrl(folder: Path) -> dict[str, Any]:
    from services.identity.linkage.batch import link
    from services.identity.linkage.model import load

    began = time.perf_counter()
    first, second = (
        f"(select *, rec_id as id from read_csv('{FEBRL}/dataset4{half}.csv',"
        " all_varchar = true, normalize_names = true))"
        for half in "ab"
    )
    found = link(load("febrl_v1"), first, second, folder)
    seconds = time.perf_counter() - began
    links = duckdb.sql(f"select id_l, id_r from read_parquet('{folder}/links.parquet')").fetchall()
    right = sum(left.split("-")[1] == other.split("-")[1] for left, other in links)
    return {"febrl4_f1": 2 * right / (len(links) + found.records / 2), "febrl4_seconds": round(seconds, 1)}


def _one_pair() -> dict[str, Any]:
    """The online path: one pair weighed, pinyin and calendar included."""
    from services.identity.linkage import Features, load, score

    model = load()
    left = Features("买买提·艾合买提", "1980-03-05", "male", "653101", None, "a")
    right = Features("麦麦提 艾合买提", "1980-05-03", "male", "653121", None, "a")
    took = []
    for _ in range(2_000):
        began = time.perf_counter()
        score(model, left, right)
        took.append(time.perf_counter() - began)
    return {"one_pair_us": round(median(took) * 1e6)}


if __name__ == "__main__":
    run("linkage", main)
