"""Heartbeats of the service's processes, and pushes that failed, for its operators."""

from services.kit.migrations import operations_tables

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    operations_tables()
