"""Ids of people follow the sector's key."""

from services.kit.migrations import renewable, renewal_tables

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    renewal_tables()
    renewable("patient_person", "sector_id")
    renewable("death_change", "sector_id")
    renewable("merged_person", "sector_id")
    renewable("merged_person", "now")
