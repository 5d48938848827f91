"""Open data by release, and exports for research by application."""

from services.kit.migrations import run_script

revision = "0005"
down_revision = "0004"

SCHEMA = """
-- A version of an open dataset. What was published never changes: a mistake is withdrawn and released anew.
create table open_release (
    product       text not null,
    version       integer not null check (version > 0),
    state         text not null default 'queued'
        check (state in ('queued', 'published', 'withheld', 'withdrawn')),
    job_id        uuid not null,
    requested_by  text not null,
    requested_at  timestamptz not null default now(),
    ended_at      timestamptz,
    reason        text,
    -- What it was made from, and what the check before publication found.
    records       bigint,
    cells         integer,
    suppressed    integer,
    k             integer,
    csv           bytea,
    parquet       bytea,
    primary key (product, version),
    check (state <> 'published' or (csv is not null and parquet is not null and k is not null))
);
alter table open_release alter column csv set storage external, alter column parquet set storage external;
create unique index open_release_at_work on open_release (product) where state = 'queued';

create function open_release_stands() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or old.state in ('withheld', 'withdrawn') or (old.state = 'published' and (
        new.state <> 'withdrawn'
        or to_jsonb(new) - '{state,reason,ended_at}'::text[]
            <> to_jsonb(old) - '{state,reason,ended_at}'::text[]
    )) then
        raise exception 'a release that has ended is never changed or deleted: it can only be withdrawn'
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end $$;
create trigger open_release_stands before update or delete on open_release
    for each row execute function open_release_stands();

-- A request of an organisation for data under pseudonyms of its own, and what became of it.
create table export_application (
    id              uuid primary key,
    client_id       text not null,
    organisation    text not null,
    title           text not null,
    details         text not null,
    dataset         text not null,
    items           jsonb not null,
    k               integer not null check (k >= 5),
    legal_basis     text not null,
    ethics          text,
    encryption_jwk  jsonb not null,
    valid_until     date not null,
    state           text not null default 'requested'
        check (state in ('requested', 'refused', 'approved', 'exported', 'withheld', 'ended')),
    requested_at    timestamptz not null default clock_timestamp(),
    due_at          timestamptz not null,
    overdue_at      timestamptz,
    decided_at      timestamptz,
    decided_by      text,
    reason          text,
    job_id          uuid,
    -- Nobody decides on what they asked for themselves.
    constraint four_eyes check (decided_by <> client_id),
    check ((state = 'requested') = (decided_at is null))
);
create index export_application_by_organisation on export_application (organisation, id desc);
create index export_application_due on export_application (due_at) where state = 'requested';

-- The sealed file. The key of its pseudonyms was never kept.
create table export_file (
    application_id  uuid primary key references export_application,
    made_at         timestamptz not null default now(),
    records         bigint not null,
    left_out        bigint not null,
    people          bigint not null,
    k               integer not null,
    sealed          bytea not null
);
alter table export_file alter column sealed set storage external;
"""


def upgrade() -> None:
    run_script(SCHEMA)
