"""What became of backups, drills, restores and promotions, as they were told."""

from services.kit.migrations import run_script

revision = "0005"
down_revision = "0004"

SCHEMA = """
create table outcome (
    id       uuid primary key,
    at       timestamptz not null,
    kind     text not null check (kind in ('backup', 'drill', 'restore', 'promote', 'standby')),
    ok       boolean not null,
    seconds  double precision,
    rpo_s    double precision,
    rto_s    double precision,
    bytes    bigint,
    detail   text not null
);
create index outcome_by_time on outcome (at desc, id desc);

create trigger outcome_append_only before update or delete or truncate on outcome
    for each statement execute function append_only();
alter table outcome enable always trigger outcome_append_only;
revoke update, delete, truncate on outcome from current_user;
"""


def upgrade() -> None:
    run_script(SCHEMA)
