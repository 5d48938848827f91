"""Topic Subscriptions: who is told of what, what is still to be looked at, what each has been told."""

from services.kit.migrations import run_script

revision = "0017"
down_revision = "0016"

SCHEMA = """
create table subscription (
    pk           bigint primary key,
    id           text not null,
    version      integer not null,
    topic        text not null,
    types        text[] not null,
    said         jsonb not null,
    holder       jsonb not null,
    destination  uuid not null,
    state        text not null check (state in ('requested', 'active', 'error', 'off')),
    numbered     bigint not null default 0,
    taken        bigint not null default 0,
    attempts     integer not null default 0,
    next_at      timestamptz not null default now(),
    told_at      timestamptz,
    ends_at      timestamptz,
    error        text
);
comment on column subscription.pk is 'of the Subscription resource';
comment on column subscription.holder is 'the rights it was made with, asked again at each telling';
comment on column subscription.destination is 'where notify knows the endpoint and its secret';
comment on column subscription.numbered is 'number of the last event';
comment on column subscription.taken is 'number of the last event that the endpoint has taken';

create table subscription_due (
    seq      bigint generated always as identity primary key,
    at       timestamptz not null,
    pks      bigint[] not null,
    created  boolean[] not null
);
comment on table subscription_due is 'what pushes kept that no subscription has been held against yet';

create table subscription_event (
    subscription  bigint not null references subscription on delete cascade,
    number        bigint not null,
    at            timestamptz not null,
    pk            bigint not null,
    created       boolean not null,
    primary key (subscription, number)
);
"""


def upgrade() -> None:
    run_script(SCHEMA)
