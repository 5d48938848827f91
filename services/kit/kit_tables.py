"""The tables that stand in every service's own schema: access leaves, events out and in, jobs, keys.

Made by a service's first migration (`services.kit.migrations.kit_tables`); read and written by
`leaves`, `events`, `jobs` and `idempotency` of this kit alone.
"""

from collections.abc import Mapping, Sequence

LEAF_SQL = """
create function append_only() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op)
        using errcode = 'insufficient_privilege';
end $$;

-- xid tells the sequencer (services/audit) which leaves a snapshot has that an earlier one had not.
create table leaf (
    seq bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    at timestamptz not null,
    subject text,
    body text not null,
    hash bytea not null check (octet_length(hash) = 32)
);
create index leaf_by_xid on leaf (xid, seq);
create index leaf_by_subject on leaf (subject, at desc, seq) where subject is not null;

-- The persons whose Merkle root stands in a bulk read's leaf: what opens the root, and what lets each
-- of them see the read in their own list.
create table leaf_member (
    subject text not null,
    leaf_seq bigint not null,
    primary key (subject, leaf_seq)
);

create trigger leaf_append_only before update or delete or truncate on leaf
    for each statement execute function append_only();
create trigger leaf_member_append_only before update or delete or truncate on leaf_member
    for each statement execute function append_only();
alter table leaf enable always trigger leaf_append_only;
alter table leaf_member enable always trigger leaf_member_append_only;
"""

EVENTS_SQL = """
-- seq is taken before the commit and says little about order; position is given by the one relay, to what
-- it sees committed, without gaps: it is the order of the service's log.
create table outbox (
    seq bigint generated always as identity primary key,
    id uuid not null,
    type text not null,
    aggregate text not null,
    area text,
    time timestamptz not null,
    body jsonb not null,
    traceparent text,
    position bigint
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index outbox_unnumbered on outbox (seq) where position is null;
create unique index outbox_by_position on outbox (position) where position is not null;
create index outbox_by_time on outbox using brin (time);

-- Up to where the log is numbered, and up to where it is on the stream. A database made anew has another log.
create table outbox_head (
    only_row boolean primary key default true check (only_row),
    log uuid not null default gen_random_uuid(),
    position bigint not null,
    sent bigint not null check (sent <= position)
) with (fillfactor = 10);
insert into outbox_head (position, sent) values (0, 0);

create table inbox (
    event_id uuid primary key,
    source text not null,
    position bigint not null,
    at timestamptz not null default now()
);
create index inbox_by_time on inbox using brin (at);

-- Up to where each source's log has been taken in, in its order, and the event that stood there.
create table inbox_cursor (
    source text primary key,
    log uuid,
    position bigint not null,
    event_id uuid
) with (fillfactor = 10);

-- An event whose effect failed. With next_at it is tried again; without, it waits for a person.
-- Later events of its aggregate wait behind it, so that an aggregate's effects keep their order.
create table dead_letter (
    id bigint generated always as identity primary key,
    event_id uuid not null unique,
    source text not null,
    position bigint not null,
    type text not null,
    aggregate text not null,
    event jsonb not null,
    attempts integer not null,
    reason text not null,
    first_at timestamptz not null default now(),
    next_at timestamptz
);
create index dead_letter_by_aggregate on dead_letter (source, aggregate, position);
"""

JOB_SQL = """
create table job (
    id uuid primary key,
    kind text not null,
    state text not null default 'queued'
        check (state in ('queued', 'running', 'done', 'failed', 'cancelled')),
    args jsonb not null,
    due_at timestamptz not null,
    attempt integer not null default 0,
    max_attempts integer not null check (max_attempts > 0),
    fence bigint not null default 0,
    lease_until timestamptz,
    handed integer not null default 0,
    handed_at timestamptz,
    progress_done bigint not null default 0,
    progress_total bigint,
    result jsonb,
    error text,
    traceparent text,
    submitted_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz
);
create index job_queued on job (due_at) where state = 'queued';
create index job_running on job (lease_until) where state = 'running';
create index job_finished on job (finished_at) where finished_at is not null;
"""

IDEMPOTENCY_SQL = """
create table idempotency (
    client text not null,
    key text not null,
    request_hash bytea not null,
    status integer,
    headers jsonb,
    body bytea,
    at timestamptz not null default now(),
    primary key (client, key)
);
create index idempotency_by_time on idempotency using brin (at);
"""

RIGHTS_SQL = """
revoke update, delete, truncate on leaf, leaf_member from current_user;
do $$
begin
    if exists (select from pg_roles where rolname = 'huimin_audit') and current_user <> 'huimin_audit' then
        execute format('grant usage on schema %I to huimin_audit', current_schema());
        grant select on leaf to huimin_audit;
    end if;
end $$;
"""

MEMBER_RIGHTS_SQL = """
do $$
begin
    if exists (select from pg_roles where rolname = 'huimin_audit') and current_user <> 'huimin_audit' then
        grant select on leaf_member to huimin_audit;
    end if;
end $$;
"""

OPERATIONS_SQL = """
-- When each part of each process of the service was last at work.
create table heartbeat (
    role text not null,
    process text not null,
    started_at timestamptz not null,
    beat_at timestamptz not null,
    primary key (role, process)
) with (fillfactor = 50);

-- Pushes that were refused or failed: by sender, door and reason, counted by the hour. Both are empty for
-- whoever did not prove who they are.
create table push_failure (
    hour timestamptz not null,
    organisation text not null,
    client text not null,
    door text not null,
    status smallint not null,
    reason text not null,
    count bigint not null check (count > 0),
    last_at timestamptz not null,
    primary key (hour, organisation, client, door, status, reason)
);
"""

READERS_SQL = """
-- Up to where each service that takes in the log has it, as it told the door: the stream is trimmed behind
-- the slowest, and the log kept for it.
create table outbox_reader (
    reader text primary key,
    log uuid not null,
    position bigint not null,
    heard_at timestamptz not null default now()
) with (fillfactor = 10);
"""

RENEWAL_SQL = """
-- How far this service is with a key version of its sector (services.kit.renewal).
create table renewal (
    version integer primary key,
    job_id uuid not null,
    switched_at timestamptz,
    understood_until timestamptz check (understood_until is null or switched_at is not null),
    ended_at timestamptz
);
comment on column renewal.job_id is 'takes the new ids and switches to them';
comment on column renewal.switched_at is 'since when the new ids are stored';
comment on column renewal.understood_until is 'until when identity understands the old ones';

-- What each old id becomes; nothing is in it but from an event of identity to the end of the overlap.
create table renewed_id (
    old_id text primary key,
    new_id text not null
);
"""


CHANGES_SQL = """
-- Whose rows of an offered dataset changed, and what these were as far as rows are chosen by it. Transactions
-- are in order only once all earlier ones have ended: whoever reads this stops at the first that may go on.
create table offer_change (
    dataset    text not null,
    xid        xid8 not null default pg_current_xact_id(),
    seq        bigint generated always as identity,
    sector_id  text not null,
    was        jsonb,
    primary key (dataset, xid, seq)
);
"""


def changes_sql(
    dataset: str, table: str, *, person: str, said: Mapping[str, str], shown: Sequence[str], when: str
) -> str:
    """Has every statement on a table note whose rows of a dataset it changed.

    Args:
        person, when: the column of the person, and which rows belong to the dataset.
        said: by item that rows are chosen by, the column it is.
        shown: columns that the dataset is made of; a change of others is none.
    """
    was = ", ".join(f"'{item}', {column}" for item, column in said.items())
    columns, name = ", ".join(shown), f"{table}_changes_{dataset}"
    gone = f"select '{dataset}', {person}, jsonb_agg(distinct jsonb_build_object({was})) from"
    added = f"select distinct '{dataset}', {person} from"
    less = f"(select {columns} from gone except all select {columns} from added) as r where {when}"
    more = f"(select {columns} from added except all select {columns} from gone) as r where {when}"
    return f"""
create function {name}() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into offer_change (dataset, sector_id) {added} added where {when};
    elsif tg_op = 'DELETE' then
        insert into offer_change (dataset, sector_id, was) {gone} gone where {when} group by {person};
    else
        insert into offer_change (dataset, sector_id, was) {gone} {less} group by {person};
        insert into offer_change (dataset, sector_id) {added} {more};
    end if;
    return null;
end $$;
create trigger {name}_added after insert on {table} referencing new table as added
    for each statement execute function {name}();
create trigger {name}_gone after delete on {table} referencing old table as gone
    for each statement execute function {name}();
create trigger {name}_changed after update on {table} referencing old table as gone new table as added
    for each statement execute function {name}();
insert into offer_change (dataset, sector_id) {added} {table} where {when};
"""


def renewable_sql(table: str, column: str) -> str:
    """Declares that a column holds sector ids. Its trigger is awake from a switch to the overlap's end:
    whoever still brings an old id has it renewed."""
    return f"""
create function renew_{table}_{column}() returns trigger language plpgsql as $$
begin
    new.{column} := coalesce((select r.new_id from renewed_id r where r.old_id = new.{column}), new.{column});
    return new;
end $$;
create trigger renew_{column} before insert or update of {column} on {table}
    for each row when (new.{column} is not null) execute function renew_{table}_{column}();
alter table {table} disable trigger renew_{column};
"""


KIT_TABLES_SQL = LEAF_SQL + EVENTS_SQL + JOB_SQL + IDEMPOTENCY_SQL + RIGHTS_SQL
