"""The models, the repository's tables and the standard's columns say the same."""

from education import models
from education.oneroster.files import KEPT
from education.oneroster.rows import LEADING
from education.repository.tables import TABLES

DESCRIBED = {table.name: table for table in models.Base.metadata.tables.values()}


def test_the_repository_knows_every_column_of_the_roster() -> None:
    common = {"source", "sourced_id", "status", "modified", "extra", "digest", "import_id", "line"}
    ours = {"organisation": {"id"}, "account": {"learner_id", "identity_digest"}}
    for name, table in TABLES.items():
        described = set(DESCRIBED[name].columns.keys())
        assert described == common | set(table.columns) | ours.get(name, set()), name


def test_every_column_of_the_standard_has_a_place() -> None:
    assert [spec.table for spec in KEPT] == list(TABLES)
    for spec in KEPT:
        kept = {column.to for column in spec.columns if column.to}
        assert kept == {"sourced_id", *TABLES[spec.table].columns}, spec.file
        assert "sourced_id" in LEADING
