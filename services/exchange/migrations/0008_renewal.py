"""Ids of people follow the sector's key."""

from services.kit.migrations import renewable, renewal_tables

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    renewal_tables()
    for column in ("subject", "given_by", "revoked_by"):
        renewable("consent", column)
    for column in ("subject", "reported_by"):
        renewable("usage_report", column)
