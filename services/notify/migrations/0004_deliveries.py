"""Where recipients are told, and what was sent there when."""

from services.kit.migrations import run_script

revision = "0004"
down_revision = "0003"

SCHEMA = """
create table destination (
    id uuid primary key,
    owner text not null,
    organisation text,
    holder jsonb not null,
    channel text not null check (channel in ('webhook', 'wecom', 'dingtalk', 'push', 'email')),
    place text not null,
    target text not null,
    target_hash bytea not null,
    topic text,
    types text[] not null default '{}',
    area text,
    language text not null check (language in ('zh', 'en')),
    state text not null check (state in ('unverified', 'active', 'disabled', 'removed')),
    reason text,
    code_until timestamptz,
    code_tries int not null default 0,
    created_at timestamptz not null default now(),
    failing_since timestamptz,
    rest_until timestamptz
);
comment on column destination.owner is
    'a person by the id of this sector, staff by their subject, a partner as organisation:<code>';
comment on column destination.holder is 'the rights it was registered with, asked again at each delivery';
comment on column destination.place is 'what of the address may be shown: host, or domain of a mailbox';
comment on column destination.target is 'address, tokens and keys, sealed';
create unique index destination_once on destination (owner, channel, target_hash, coalesce(topic, ''))
    where state <> 'removed';
create index destination_by_owner on destination (owner, id);
create index destination_slow on destination (rest_until)
    where state = 'active' and (failing_since is not null or channel in ('wecom', 'dingtalk'));
create index destination_by_topic on destination (topic) where state = 'active' and topic is not null;

-- What is told: one row however many are told it.
create table told (
    id uuid primary key,
    fact text not null,
    event jsonb not null,
    words jsonb not null,
    urgent boolean not null,
    raised_at timestamptz not null
);
create index told_by_fact on told (fact);

create table delivery (
    id bigint generated always as identity primary key,
    destination uuid not null references destination,
    told uuid not null references told,
    owner text not null,
    channel text not null,
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'stopped', 'dead')),
    attempts int not null default 0,
    next_at timestamptz,
    timed_at timestamptz not null default now(),
    raised_at timestamptz not null,
    sent_at timestamptz,
    delivered_at timestamptz,
    acknowledged_at timestamptz,
    reason text,
    unique (destination, told),
    check ((state = 'waiting') = (next_at is not null))
) with (fillfactor = 70);
comment on column delivery.timed_at is
    'when next_at was said: a clock that stands before that has been turned back';
create index delivery_due on delivery (next_at) where next_at is not null;
create index delivery_due_by_destination on delivery (destination, next_at) where next_at is not null;
create index delivery_by_owner on delivery (owner, id);
create index delivery_by_told on delivery (told);
create index delivery_dead on delivery (id) where state = 'dead';
"""


def upgrade() -> None:
    run_script(SCHEMA)
