"""In which order contributions changed."""

from services.kit.migrations import change_log, changes_of, renewable

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    change_log()
    changes_of(
        "contribution_months",
        "contribution",
        person="person",
        said={"year": "extract(year from period)::int", "scheme": "scheme"},
        shown=("person", "period", "scheme", "superseded_at"),
        when="superseded_at is null",
    )
    renewable("offer_change", "sector_id")
