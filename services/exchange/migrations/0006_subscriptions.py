"""Changes pushed to a consumer under an agreement."""

from services.kit.migrations import run_script

revision = "0006"
down_revision = "0005"

SCHEMA = """
create table subscription (
    id            uuid primary key,
    agreement_id  text not null references agreement,
    state         text not null default 'active' check (state in ('active', 'parked', 'ended')),
    -- Where the provider's changes go on after the last batch that was answered.
    place         text,
    batches       bigint not null default 0,
    rows          bigint not null default 0,
    pushed_at     timestamptz,
    attempts      integer not null default 0,
    next_at       timestamptz not null default clock_timestamp(),
    reason        text,
    created_at    timestamptz not null default clock_timestamp(),
    check (state <> 'parked' or reason is not null)
);
create unique index subscription_of_agreement on subscription (agreement_id) where state <> 'ended';
"""


def upgrade() -> None:
    run_script(SCHEMA)
