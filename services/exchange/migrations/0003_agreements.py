"""Agreements as they are asked for, decided and used; the catalogue with freshness and legal bases."""

from services.kit.migrations import run_script

revision = "0003"
down_revision = "0002"

SCHEMA = """
-- Which organisation answers for a service: its staff ask for and decide on agreements.
create table department (
    service       text primary key,
    organisation  text unique,
    name_zh       text not null,
    name_en       text not null
);
comment on column department.organisation is 'unified social credit code; none until it is registered';

alter table dataset
    add column number integer generated always as identity unique,
    add column fresh_at timestamptz,
    add constraint sharing_class check (
        description ->> 'sharing' in ('unconditional', 'conditional', 'none')
    ),
    add constraint not_shared_on_legal_basis check (
        description ->> 'sharing' <> 'none' or coalesce(trim(description ->> 'legal_basis'), '') <> ''
    );
comment on column dataset.number is 'of its 信息资源代码; never given to another dataset';
comment on column dataset.fresh_at is 'when its data last changed, as the provider said';

alter table agreement rename column purpose to details;
update agreement set details = details || ' · ' || purpose_en;
alter table agreement
    drop column purpose_en,
    add column purpose text,
    add column filter jsonb not null default '[]',
    add column reads_per_day integer not null default 1000 check (reads_per_day > 0),
    add column rows_per_day bigint not null default 1000000 check (rows_per_day > 0),
    add column requested_by text,
    add column decided_by text,
    add column due_at timestamptz,
    add column overdue_told_at timestamptz;
update agreement set purpose = 'benefit_audit', due_at = created_at, requested_by = 'service:exchange',
    decided_by = 'services/exchange/knowledge/agreements.json';
alter table agreement
    alter column purpose set not null,
    alter column due_at set not null,
    alter column requested_by set not null,
    alter column filter drop default,
    alter column reads_per_day drop default,
    alter column rows_per_day drop default,
    -- Nobody decides on what they asked for themselves.
    add constraint four_eyes check (decided_by <> requested_by),
    add constraint decided_by_somebody check (
        state not in ('active', 'suspended', 'refused') or decided_by is not null
    );
comment on column agreement.purpose is 'a code of services/kit/purposes.py';
comment on column agreement.details is 'what for, in the words of whoever asked';
create index agreement_newest on agreement (created_at desc, id desc);
create index agreement_by_state on agreement (state, created_at desc, id desc);

alter table agreement_step add column organisation text;

-- What was read under an agreement on each day in China; its quota is held against it.
create table agreement_use (
    agreement_id  text not null references agreement,
    day           date not null,
    reads         integer not null,
    rows          bigint not null,
    primary key (agreement_id, day)
);
"""


def upgrade() -> None:
    run_script(SCHEMA)
