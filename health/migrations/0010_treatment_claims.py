"""Which organisations say that they treat somebody, that the person was told, and what the person says."""

from services.kit.migrations import renewable, run_script

revision = "0010"
down_revision = "0009"

SCHEMA = """
create table treatment_claim (
    seq           bigint generated always as identity primary key,
    sector_id     text not null,
    organisation  text not null,
    claimed_at    timestamptz not null default now(),
    told_at       timestamptz,
    objected_at   timestamptz
);
create index treatment_claim_of on treatment_claim (sector_id, organisation);
create index treatment_claim_untold on treatment_claim (seq) where told_at is null;
comment on table treatment_claim is
    'that an organisation treats a person by its own records, which opens those of others to it';
comment on column treatment_claim.objected_at is
    'when the person said that it does not: from then on it opens nothing';
"""


def upgrade() -> None:
    run_script(SCHEMA)
    renewable("treatment_claim", "sector_id")
