"""Resources can be deleted: what is gone stands apart from what is there, with all its versions."""

from services.kit.migrations import run_script

revision = "0013"
down_revision = "0012"

# A table of its own: no statement that reads `resource` can show by mistake what was deleted.
SCHEMA = """
create table deleted (
    pk            bigint primary key,
    type          text not null,
    id            text not null,
    version       integer not null,
    ts            timestamptz not null,
    pt            bigint not null,
    organisation  text,
    client        text not null,
    special       boolean not null
);
comment on table deleted is 'the last word on a resource was DELETE; the version is that of the deletion';
create unique index deleted_by_id on deleted (type, id);

alter table history drop constraint history_method_check;
alter table history add constraint history_method_check
    check (method in ('POST', 'PUT', 'PATCH', 'DELETE'));
create index history_by_time on history (ts, pk, version);
"""


def upgrade() -> None:
    run_script(SCHEMA)
