"""The columns of the files that are pushed have a place in the models."""

import pytest

from social_security import models
from social_security.imports.kinds import KINDS, Kind

DESCRIBED = {table.name: table for table in models.Base.metadata.tables.values()}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_every_column_that_is_kept_has_a_place(kind: Kind) -> None:
    ours = {"id", "organisation", "receipt_id", "recorded_at", "superseded_at", "person"}
    assert set(DESCRIBED[kind.table].columns.keys()) - ours == set(kind.kept)
