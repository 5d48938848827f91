"""Heartbeats of the service's processes, pushes that failed, and a day's deliveries, for its operators."""

from services.kit.migrations import operations_tables, run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    operations_tables()
    run_script("create index delivery_by_time on delivery using brin (raised_at)")
