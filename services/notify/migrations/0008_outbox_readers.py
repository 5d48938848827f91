"""How far each reader of the service's log is: what the stream is trimmed behind."""

from services.kit.migrations import reader_table

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    reader_table()
