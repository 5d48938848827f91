"""Bulk data: exports and imports that were asked for, their files, the lines of imports on their way."""

from services.kit.migrations import run_script

revision = "0015"
down_revision = "0014"

# Files stand in the database because worker and doors may be on different machines. Each part of a file is
# compressed by itself (RFC 1951, without a last block), so that one after another they are one gzip stream.
SCHEMA = """
create table bulk (
    id            uuid primary key,
    kind          text not null check (kind in ('export', 'import')),
    client        text not null,
    organisation  text,
    who           jsonb not null,
    asked         jsonb not null,
    job           uuid not null,
    asked_at      timestamptz not null default now(),
    as_of         timestamptz,
    rank          smallint not null default -1,
    line          bigint not null default -1,
    ready_at      timestamptz,
    expires_at    timestamptz
);
comment on column bulk.who is 'who asked, by what rights, for what purpose; decided upon again when it runs';
comment on column bulk.line is 'the last line of an import that is kept, of the lines of this rank';
create index bulk_unfinished on bulk (client) where ready_at is null;
create index bulk_over on bulk (expires_at) where expires_at is not null;

create table bulk_file (
    id            uuid primary key,
    bulk          uuid,
    role          text not null check (role in ('output', 'deleted', 'error', 'input')),
    name          text not null,
    type          text not null,
    client        text not null,
    organisation  text,
    lines         bigint not null default 0,
    size          bigint not null default 0,
    crc           bigint not null default 0,
    sha256        bytea,
    expires_at    timestamptz not null
);
comment on column bulk_file.bulk is 'null: an upload that no import has taken yet';
create unique index bulk_file_by_name on bulk_file (bulk, name);
create index bulk_file_over on bulk_file (expires_at);

create table bulk_part (
    file   uuid not null references bulk_file on delete cascade,
    n      integer not null,
    first  bigint not null,
    lines  integer not null,
    body   bytea not null,
    primary key (file, n)
);
alter table bulk_part alter column body set storage external;
comment on column bulk_part.first is 'the number in the file, from 1 on, of the first line';

-- Lines of an import that were refused, and why.
create table bulk_problem (
    bulk     uuid not null references bulk on delete cascade,
    line     bigint not null,
    outcome  text not null,
    primary key (bulk, line)
);

-- What can be made again from the files costs no log: after a crash of the database these two are empty.
create unlogged table bulk_staged (
    bulk  uuid not null,
    file  uuid not null,
    n     integer not null,
    primary key (file, n)
);
create unlogged table bulk_line (
    bulk   uuid not null,
    rank   smallint not null,
    line   bigint not null,
    type   text not null,
    local  text collate "C" not null,
    refs   text[] not null,
    entry  text not null,
    pk     bigint not null default nextval('resource_pk'),
    primary key (bulk, rank, line)
);
comment on column bulk_line.local is 'Type/id of what it will be; refs: of what it refers to';
comment on column bulk_line.pk is 'the key it will have unless it is in the store already';
alter table bulk_line alter column entry set storage external;
create index bulk_line_by_local on bulk_line (bulk, local);
"""


def upgrade() -> None:
    run_script(SCHEMA)
