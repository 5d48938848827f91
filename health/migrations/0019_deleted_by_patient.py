"""A person's own history finds what was deleted of their record without reading all deletions."""

from services.kit.migrations import run_script

revision = "0019"
down_revision = "0018"

SCHEMA = """
create index deleted_by_patient on deleted (pt) where pt <> 0;
"""


def upgrade() -> None:
    run_script(SCHEMA)
