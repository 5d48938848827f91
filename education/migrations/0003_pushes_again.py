"""The same zip is a repetition only while it is the sender's newest; a key tells a late one for certain."""

from services.kit.migrations import run_script

revision = "0003"
down_revision = "0002"

AGAIN = """
create table import_key (
    client_id  text not null,
    key        text not null,
    import_id  uuid not null references import_batch,
    primary key (client_id, key)
);
drop index import_batch_once;
create unique index import_batch_once on import_batch (client_id, sha256) where status = 'received';
create index import_batch_by_bytes on import_batch (client_id, sha256) where status <> 'rejected';
create index import_batch_by_effect on import_batch (source, applied_seq desc) where applied_seq is not null;
"""


def upgrade() -> None:
    run_script(AGAIN)
