"""Messages by topic, in the order in which they became visible."""

from services.kit.migrations import kit_tables, run_script

revision = "0001"
down_revision = None

TABLES = """
create table message (
    seq bigint primary key,
    topic text not null,
    area text,
    time timestamptz not null,
    event_id uuid not null unique,
    data jsonb not null,
    recorded_at timestamptz not null default now()
);
create index message_by_topic on message (topic, seq);

-- Numbers are given under this row's lock, so that they become visible in their order and without gaps:
-- whoever has read up to a number has missed nothing before it.
create table message_head (
    only_row boolean primary key default true check (only_row),
    seq bigint not null
) with (fillfactor = 10);
insert into message_head (seq) values (0);
"""


def upgrade() -> None:
    kit_tables()
    run_script(TABLES)
