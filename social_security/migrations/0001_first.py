"""Receipts, contributions, payments, claims with their versions; snapshots, audit runs, findings."""

from services.kit.migrations import kit_tables, run_script

revision = "0001"
down_revision = None

_VERSION = """
    id bigint generated always as identity,
    organisation text not null,
    receipt_id uuid not null references receipt,
    recorded_at timestamptz not null,
    superseded_at timestamptz check (superseded_at >= recorded_at),
"""

_SQL = f"""
create table receipt (
    id uuid primary key,
    organisation text not null,
    client_id text not null,
    digest text not null,
    sha256 text not null,
    mode text not null check (mode in ('atomic', 'accept-valid')),
    files jsonb not null,
    refused integer not null,
    received_at timestamptz not null
);
create index receipt_organisation on receipt (organisation, received_at desc);
create index receipt_digest on receipt (organisation, digest);

create table refusal (
    receipt_id uuid not null references receipt,
    kind text not null,
    line integer not null,
    faults jsonb not null,
    primary key (receipt_id, kind, line)
);

create table contribution ({_VERSION}
    person text not null,
    contribution_id text not null,
    employer_uscc text not null,
    scheme text not null,
    area text not null,
    period date not null check (extract(day from period) = 1),
    base numeric(14, 2) not null check (base >= 0),
    amount numeric(14, 2) not null check (amount >= 0),
    currency text not null,
    declared_on date not null,
    primary key (person, id)
);
create unique index contribution_current on contribution (organisation, contribution_id)
    where superseded_at is null;

create table payment ({_VERSION}
    person text not null,
    payment_id text not null,
    scheme text not null,
    benefit text not null,
    area text not null,
    period date not null check (extract(day from period) = 1),
    amount numeric(14, 2) not null check (amount >= 0),
    currency text not null,
    paid_on date not null,
    account_hash text,
    primary key (person, id)
);
create unique index payment_current on payment (organisation, payment_id) where superseded_at is null;

create table claim ({_VERSION}
    person text not null,
    claim_id text not null,
    provider_uscc text not null,
    scheme text not null,
    area text not null,
    admitted_on date,
    discharged_on date check (discharged_on >= admitted_on),
    claimed_on date not null,
    diagnosis text,
    total numeric(14, 2) not null check (total >= 0),
    currency text not null,
    primary key (person, id)
);
create unique index claim_current on claim (organisation, claim_id) where superseded_at is null;

create table claim_line ({_VERSION}
    claim_id text not null,
    line_no integer not null check (line_no > 0),
    item_code text not null,
    item_name text,
    service_date date not null,
    quantity numeric(14, 4) not null check (quantity > 0),
    unit_price numeric(14, 2) not null check (unit_price >= 0),
    amount numeric(14, 2) not null check (amount >= 0),
    currency text not null,
    practitioner text,
    primary key (id)
);
create unique index claim_line_current on claim_line (organisation, claim_id, line_no)
    where superseded_at is null;

-- What was pushed stays as it was pushed: a version may end, once, and nothing else about it may change.
create function keep_versions() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'pushed rows are superseded, never deleted' using errcode = 'restrict_violation';
    end if;
    if old.superseded_at is not null
        or to_jsonb(old) - 'superseded_at' is distinct from to_jsonb(new) - 'superseded_at' then
        raise exception 'a pushed row changes by a new version only' using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger keep_versions before update or delete on contribution
    for each row execute function keep_versions();
create trigger keep_versions before update or delete on payment
    for each row execute function keep_versions();
create trigger keep_versions before update or delete on claim
    for each row execute function keep_versions();
create trigger keep_versions before update or delete on claim_line
    for each row execute function keep_versions();

create table data_snapshot (
    id uuid primary key,
    as_of timestamptz not null,
    files jsonb not null,
    sha256 text not null,
    removed_at timestamptz
);

-- Whether a run waits, goes on or failed, its job says; here stands only how it ended.
create table audit_run (
    id uuid primary key,
    job_id uuid not null references job,
    requested_by text not null,
    requested_at timestamptz not null,
    rules text[] not null,
    ended text check (ended in ('finished', 'superseded')),
    snapshot_id uuid references data_snapshot,
    pack_sha256 text,
    engines jsonb,
    outcomes jsonb not null default '[]',
    check (num_nulls(ended, snapshot_id, pack_sha256, engines) in (0, 4))
);
create index audit_run_job on audit_run (job_id);

-- A finding is open for as long as the data shows it, and vanished when they no longer do. Neither stops,
-- reduces or recovers anything; a decision is a person's, and has no column here.
create table finding (
    finding_key text primary key,
    rule text not null,
    rule_version text not null,
    form text not null,
    subject text not null,
    party_role text not null check (party_role in ('beneficiary', 'intermediary', 'employer', 'provider')),
    result text not null check (result in ('violation', 'suspicion')),
    severity text not null check (severity in ('low', 'medium', 'high')),
    evidence jsonb not null check (jsonb_array_length(evidence) > 0),
    observed jsonb not null,
    allowed_zh text not null,
    allowed_en text not null,
    explain_zh text not null,
    explain_en text not null,
    amount_at_risk numeric(14, 2) not null check (amount_at_risk >= 0),
    currency text not null,
    areas text[] not null,
    status text not null check (status in ('open', 'vanished')),
    first_run uuid not null references audit_run,
    last_run uuid not null references audit_run,
    first_seen_at timestamptz not null,
    last_seen_at timestamptz not null,
    vanished_at timestamptz,
    check ((status = 'vanished') = (vanished_at is not null))
);
create index finding_subject on finding (subject);
create index finding_by_amount on finding (amount_at_risk desc, finding_key);
create index finding_by_rule on finding (rule, amount_at_risk desc, finding_key);
"""


def upgrade() -> None:
    kit_tables()
    run_script(_SQL)
