"""Messages for one person, and for the staff of one organisation."""

from services.kit.migrations import run_script

revision = "0003"
down_revision = "0002"

SCHEMA = """
alter table message add column recipient text, add column organisation text;
comment on column message.recipient is 'the one person who may read it, by the id of this sector';
comment on column message.organisation is 'whose staff may read it';
alter table message drop constraint message_event_id_key, add unique (event_id, topic);
create index message_by_recipient on message (recipient, topic, seq) where recipient is not null;
"""


def upgrade() -> None:
    run_script(SCHEMA)
