"""The log may say who was in a bulk read: each person's own list of usages needs it."""

from services.kit.migrations import let_audit_read_members

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    let_audit_read_members()
