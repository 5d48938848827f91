"""How far each reader of the service's log is: what the stream is trimmed behind."""

from services.kit.migrations import reader_table

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    reader_table()
