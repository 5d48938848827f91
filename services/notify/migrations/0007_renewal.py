"""Ids of people follow the sector's key."""

from services.kit.migrations import renewable, renewal_tables

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    renewal_tables()
    renewable("message", "recipient")
    renewable("notification", "recipient")
    renewable("destination", "owner")
    renewable("delivery", "owner")
    renewable("quiet_hours", "recipient")
