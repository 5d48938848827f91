"""Who may read whose records: who treats whom, and who opened a record in an emergency."""

from services.kit.migrations import run_script

revision = "0003"
down_revision = "0002"

SCHEMA = """
alter table resource add column special boolean not null default false;
comment on column resource.special is 'labelled as specially protected (meta.security)';

-- Index rows of visits, episodes, requests and appointments: which organisation treats the patient by them.
create table care (
    organisation  text not null,
    pt            bigint not null,
    until         timestamptz not null,
    pk            bigint not null,
    primary key (organisation, pt, pk)
);
comment on column care.until is 'when the treatment relation that follows from it ends';
create index care_of on care (pk);

create table emergency_access (
    id            uuid primary key,
    pt            bigint not null,
    organisation  text not null,
    client        text not null,
    actor         text not null,
    reason        text not null,
    begun_at      timestamptz not null,
    ends_at       timestamptz not null
);
comment on column emergency_access.actor is 'who opened the record and may read it until ends_at';
create index emergency_access_open on emergency_access (actor, ends_at);
create index emergency_access_of on emergency_access (pt, begun_at desc, id desc);

create trigger emergency_access_append_only before update or delete or truncate on emergency_access
    for each statement execute function append_only();
alter table emergency_access enable always trigger emergency_access_append_only;
revoke update, delete, truncate on emergency_access from current_user;

-- Of the emergency access of the same id; no foreign key, because to hold its row would take the right to
-- change it.
create table access_review (
    id            uuid primary key,
    organisation  text not null,
    opened_at     timestamptz not null,
    due_at        timestamptz not null,
    overdue_at    timestamptz,
    state         text not null default 'pending' check (state in ('pending', 'justified', 'unjustified')),
    words         text,
    decided_by    text,
    decided_at    timestamptz,
    check ((state = 'pending') = (decided_at is null)),
    check ((state = 'pending') = (decided_by is null)),
    check ((state = 'pending') = (words is null))
);
comment on column access_review.overdue_at is 'when it was told that nobody had decided in time';
create index access_review_by_organisation on access_review (organisation, opened_at, id);
create index access_review_waiting on access_review (due_at) where state = 'pending' and overdue_at is null;
"""


def upgrade() -> None:
    run_script(SCHEMA)
