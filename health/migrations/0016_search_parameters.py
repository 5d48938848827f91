"""Search parameters of one's own, and how far what is kept has its rows for them."""

from services.kit.migrations import run_script

revision = "0016"
down_revision = "0015"

SCHEMA = """
create table search_parameter (
    pk          bigint not null,
    type        text not null,
    code        text not null,
    definition  jsonb not null,
    version     bigint generated always as identity,
    job         uuid not null,
    ready       boolean not null default false,
    primary key (pk, type),
    unique (type, code)
);
comment on column search_parameter.pk is 'of the SearchParameter resource';
comment on column search_parameter.ready is 'what was kept before it is found by it, too: its job has ended';

create table reindexing (
    job    uuid primary key,
    after  bigint not null
);
comment on column reindexing.after is 'pk of the last resource whose rows are written';
"""


def upgrade() -> None:
    run_script(SCHEMA)
