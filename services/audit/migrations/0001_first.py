"""The tree over all access leaves: where each leaf stands in it, its tiles, its signed heads."""

from services.kit.migrations import kit_tables, run_script

revision = "0001"
down_revision = None

SCHEMA = """
-- How far each service's leaves are in the tree: all that the snapshot `done` sees is; of what `target` sees
-- beyond that, all up to (xid, seq).
create table source (
    name    text primary key,
    system  bigint not null,
    done    text not null,
    target  text,
    xid     bigint not null default 0,
    seq     bigint not null default 0
);
comment on column source.system is 'the database cluster whose transaction numbers these are';

create table tree_leaf (
    index         bigint primary key,
    source        text not null,
    source_seq    bigint not null,
    hash          bytea not null check (octet_length(hash) = 32),
    at            timestamptz not null,
    sequenced_at  timestamptz not null default now(),
    unique (source, source_seq)
);

create table tile (
    level   smallint not null check (level > 0),
    number  bigint not null,
    hashes  bytea not null,
    primary key (level, number)
);

create table head (
    size  bigint primary key,
    root  bytea not null check (octet_length(root) = 32),
    at    timestamptz not null,
    jws   text not null
);

create trigger tree_leaf_append_only before update or delete or truncate on tree_leaf
    for each statement execute function append_only();
create trigger head_append_only before update or delete or truncate on head
    for each statement execute function append_only();
alter table tree_leaf enable always trigger tree_leaf_append_only;
alter table head enable always trigger head_append_only;
revoke update, delete, truncate on tree_leaf, head from current_user;
"""


def upgrade() -> None:
    kit_tables()
    run_script(SCHEMA)
