"""How a model's figures are learnt: u from pairs at random, m by expectation maximisation, no labels needed.

    python -m services.identity.linkage.train --model cn_v1 --left register.parquet --right again.parquet \\
        --seed 1 --source "…" --out cn_v1.json

The left set holds everybody once, so two of its records are of two people: that gives u. The right set
holds later records of the same people. Where the sets have a column `truth`, the thresholds are chosen on one
half of the right set and measured once on the other; without it they stay as they are.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Any

import duckdb

from services.identity.linkage import batch
from services.identity.linkage.batch import quoted
from services.identity.linkage.model import Model, dumps, parse
from services.identity.linkage.splink_form import from_splink, to_splink

RANDOM_PAIRS = 2e7
EM_PAIRS = 2e6
LOWEST_BITS = -20.0  # pairs below it are left out of every count
PRECISION = 0.9995  # of pairs joined without anybody looking
SUREST_BITS = 10.0  # nothing is joined below odds of about 1000 to 1
REVIEW_PRECISION = 0.2  # of the last pairs that still go to a clerk
WINDOW_BITS = 2.0


def train(
    model: Model, left: str, right: str, *, seed: int, source: str, folder: Path, labelled: bool
) -> Model:
    """The model with its figures learnt from two sets (what stands after FROM in SQL)."""
    with batch.database(folder, memory_mb=2000) as db:
        db.execute(f"create view said_left as select * from {left}")
        db.execute(f"create view said_right as select * from {right}")
        halves = ["mod(hash(truth), 2) = 0", "mod(hash(truth), 2) = 1"] if labelled else ["true"]
        batch.prepare(db, model, "said_left", "people")
        batch.prepare(db, model, f"(select * from said_right where {halves[0]})", "pushed")
        learnt = _prior(db, _m(db, _u(db, model, seed)))
        made: dict[str, Any] = {
            "by": "services.identity.linkage.train",
            "from": source,
            "seed": seed,
            "records": [batch.count(db, "people"), batch.count(db, "said_right")],
            "u": f"{RANDOM_PAIRS:.0e} random pairs within the left set",
            "m": "expectation maximisation over each blocking rule, u held",
            "splink": version("splink"),
        }
        if labelled:
            learnt = _thresholds(db, learnt)
            db.execute("drop table pushed")
            batch.prepare(db, model, f"(select * from said_right where {halves[1]})", "pushed")
            made["tested"] = _tested(db, learnt)
        return learnt.model_copy(update={"made": made})


def _u(db: duckdb.DuckDBPyConnection, model: Model, seed: int) -> Model:
    linker = batch.splink_linker(db, model, ["people"])
    linker.training.estimate_u_using_random_sampling(
        max_pairs=RANDOM_PAIRS, seed=seed, min_count_per_level=None
    )
    return from_splink(model, linker.misc.save_model_to_json())


def _m(db: duckdb.DuckDBPyConnection, model: Model) -> Model:
    linker = batch.splink_linker(db, model, ["people", "pushed"])
    for rule in to_splink(model, "link_only")["blocking_rules_to_generate_predictions"]:
        linker.training.estimate_parameters_using_expectation_maximisation(
            rule["blocking_rule"], max_pairs=EM_PAIRS
        )
    return from_splink(model, linker.misc.save_model_to_json())


def _prior(db: duckdb.DuckDBPyConnection, model: Model) -> Model:
    """The expected matches of a record: the candidates' probabilities added up, until they agree."""
    people, pushed = batch.count(db, "people"), batch.count(db, "pushed")
    for _ in range(3):
        model = model.model_copy(update={"population": people})
        _weigh_all(db, model)
        [(expected,)] = db.execute(f"select sum(1 / (1 + pow(2, -weight))) from {batch.PAIRS}").fetchall()
        model = model.model_copy(update={"matches_per_record": round(expected / pushed, 4)})
    return model


def _weigh_all(db: duckdb.DuckDBPyConnection, model: Model) -> None:
    low = model.verdicts.model_copy(update={"auto": LOWEST_BITS, "review": LOWEST_BITS})
    batch.weigh_pairs(db, model.model_copy(update={"verdicts": low}), ["people", "pushed"])


def _thresholds(db: duckdb.DuckDBPyConnection, model: Model) -> Model:
    """The lowest whole weights at which the pairs joined, and the last ones shown, are right often enough."""
    _weigh_all(db, model)
    joined = list(_labelled(db, "verdict = 'auto'"))
    shown = list(_labelled(db, "verdict <> 'none'"))
    right = accumulate(truth for _, truth in joined)
    auto = [w for n, ((w, _), r) in enumerate(zip(joined, right, strict=True), 1) if r / n >= PRECISION]
    review = next(
        (bits for bits in range(int(LOWEST_BITS), 40) if _share(shown, bits) >= REVIEW_PRECISION),
        int(LOWEST_BITS),
    )
    found = {"auto": max(float(ceil(min(auto))), SUREST_BITS), "review": float(review)}
    return model.model_copy(update={"verdicts": model.verdicts.model_copy(update=found)})


def _share(pairs: Sequence[tuple[float, bool]], bits: float) -> float:
    window = [truth for weight, truth in pairs if bits <= weight < bits + WINDOW_BITS]
    return sum(window) / len(window) if window else 0.0


def _labelled(db: duckdb.DuckDBPyConnection, where: str) -> Iterator[tuple[float, bool]]:
    return batch.rows(
        db,
        f"select weight, a.truth = b.truth from {batch.PAIRS} join people p on p.unique_id = l"
        f" join pushed q on q.unique_id = r join said_left a on a.id = p.id join said_right b on b.id = q.id"
        f" where {where} order by weight desc",
    )


def _tested(db: duckdb.DuckDBPyConnection, model: Model) -> Mapping[str, float]:
    """Precision and recall on the half that nothing was chosen on."""
    batch.weigh_pairs(db, model, ["people", "pushed"])
    auto = [truth for _, truth in _labelled(db, "verdict = 'auto'")]
    review = [truth for _, truth in _labelled(db, "verdict = 'review'")]
    [(pairs,)] = db.execute(
        "select count(*) from pushed q join said_right b on b.id = q.id join said_left a on a.truth = b.truth"
    ).fetchall()
    return {
        "pairs": pairs,
        "auto": len(auto),
        "auto_precision": round(sum(auto) / max(len(auto), 1), 6),
        "auto_recall": round(sum(auto) / pairs, 4),
        "review": len(review),
        "review_precision": round(sum(review) / max(len(review), 1), 4),
        "recall_with_review": round((sum(auto) + sum(review)) / pairs, 4),
    }


def relation(path: Path) -> str:
    """What stands after FROM for a file."""
    if path.suffix == ".parquet":
        return f"read_parquet({quoted(path)})"
    return f"read_csv({quoted(path)}, all_varchar = true, normalize_names = true)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.identity.linkage.train", description=__doc__)
    parser.add_argument(
        "--model", type=Path, required=True, help="a model's file: what is compared, first figures"
    )
    parser.add_argument("--left", type=Path, required=True, help="everybody once: CSV or Parquet")
    parser.add_argument("--right", type=Path, required=True, help="later records of them")
    parser.add_argument("--id", default="id", help="the column that tells records apart")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", required=True, help="where the two sets come from, for the record")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    model = parse(json.loads(asked.model.read_text(encoding="utf-8")))
    left, right = (
        f"(select *, {asked.id} as id from {relation(path)})" if asked.id != "id" else relation(path)
        for path in (asked.left, asked.right)
    )
    with tempfile.TemporaryDirectory(prefix="huimin-linkage-") as folder:
        columns = duckdb.sql(f"select * from {left} limit 0").columns
        learnt = train(
            model,
            left,
            right,
            seed=asked.seed,
            source=asked.source,
            folder=Path(folder),
            labelled="truth" in columns,
        )
    asked.out.write_text(dumps(learnt), encoding="utf-8")


if __name__ == "__main__":
    main()
