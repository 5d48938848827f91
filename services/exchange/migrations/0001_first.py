"""The catalogue of shared data and the agreements it may be read under."""

from services.kit.migrations import kit_tables, run_script

revision = "0001"
down_revision = None

SCHEMA = """
-- What the services said they offer, as last heard.
create table dataset (
    id           text primary key,
    provider     text not null,
    name         text not null,
    description  jsonb not null,
    first_seen   timestamptz not null default now(),
    changed_at   timestamptz not null default now(),
    seen_at      timestamptz not null default now(),
    withdrawn_at timestamptz,
    unique (provider, name)
);

create table agreement (
    id           text primary key,
    dataset      text not null,
    provider     text not null,
    consumer     text not null,
    items        text[] not null check (cardinality(items) > 0),
    purpose      text not null,
    purpose_en   text not null,
    legal_basis  text not null,
    valid_from   timestamptz not null,
    valid_until  timestamptz not null check (valid_until > valid_from),
    state        text not null check (state in ('requested', 'refused', 'active', 'suspended', 'ended')),
    created_at   timestamptz not null default now(),
    check (provider <> consumer)
);
create index agreement_reads on agreement (consumer, dataset);

-- Every change of an agreement's state, by whom and why; never rewritten.
create table agreement_step (
    agreement_id  text not null references agreement,
    at            timestamptz not null default now(),
    state         text not null,
    reason        text not null,
    decided_by    text not null,
    primary key (agreement_id, at)
);
create trigger agreement_step_append_only before update or delete or truncate on agreement_step
    for each statement execute function append_only();
"""


def upgrade() -> None:
    kit_tables()
    run_script(SCHEMA)
