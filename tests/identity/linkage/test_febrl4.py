"""FEBRL 4: two sets of 5,000, one record each of the same people, full of typing errors."""

from pathlib import Path

import duckdb
import pytest

from services.identity.linkage import load
from services.identity.linkage.batch import link

FOLDER = Path(__file__).resolve().parents[4] / "shared/data/febrl4"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason=f"no data at ../shared/data/{FOLDER.name}")


def test_the_shipped_module_links_them(tmp_path: Path) -> None:
    first, second = (
        f"(select *, rec_id as id from read_csv('{FOLDER}/dataset4{half}.csv',"
        " all_varchar = true, normalize_names = true))"
        for half in "ab"
    )
    link(load("febrl_v1"), first, second, tmp_path)
    links = duckdb.sql(f"select id_l, id_r from read_parquet('{tmp_path}/links.parquet')").fetchall()
    right = sum(left.split("-")[1] == other.split("-")[1] for left, other in links)
    precision, recall = right / len(links), right / 5_000
    assert 2 * precision * recall / (precision + recall) >= 0.999


def test_the_model_was_made_without_labels() -> None:
    assert "tested" not in load("febrl_v1").made
