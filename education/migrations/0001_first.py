"""Imports, the roster as each sender keeps it with us, learners and their enrolment episodes."""

from services.kit.migrations import kit_tables, run_script

revision = "0001"
down_revision = None

INTAKE = """
create table import_batch (
    id           uuid primary key,
    source       text not null,
    client_id    text not null,
    mode         text not null check (mode in ('atomic', 'accept-valid')),
    sha256       bytea not null check (octet_length(sha256) = 32),
    size_bytes   integer not null,
    status       text not null default 'received' check (status in ('received', 'applied', 'rejected')),
    received_at  timestamptz not null default now(),
    finished_at  timestamptz,
    applied_seq  bigint unique,
    manifest     jsonb not null default '{}',
    files        jsonb not null default '[]',
    people       jsonb not null default '{}',
    episodes     jsonb not null default '{}',
    errors       integer not null default 0,
    warnings     integer not null default 0
);
comment on column import_batch.applied_seq is 'the order in which imports took effect';
create sequence import_applied_seq owned by import_batch.applied_seq;
-- The same bytes from the same client are the same push; those that were refused may be tried again.
create unique index import_batch_once on import_batch (client_id, sha256) where status <> 'rejected';
create index import_batch_by_source on import_batch (source, id desc);

-- The zip as it came, in sealed pieces: it holds children's national numbers.
create table import_part (
    import_id  uuid not null references import_batch,
    n          integer not null,
    sealed     bytea not null,
    primary key (import_id, n)
);
alter table import_part alter column sealed set storage external;

create table import_fault (
    import_id    uuid not null references import_batch,
    n            integer not null,
    file         text,
    line         integer,
    column_name  text,
    sourced_id   text,
    code         text not null,
    value        text,
    about        jsonb not null default '{}',
    primary key (import_id, n)
);

create table proposal (
    id           uuid primary key,
    import_id    uuid not null references import_batch,
    source       text not null,
    table_name   text not null,
    rows         integer not null,
    of_rows      integer not null,
    status       text not null default 'open'
        check (status in ('open', 'confirmed', 'rejected', 'overtaken')),
    proposed_at  timestamptz not null default now(),
    decided_at   timestamptz,
    decided_by   text,
    note         text
);
create index proposal_open on proposal (source, table_name) where status = 'open';
create index proposal_import on proposal (import_id);

create table proposal_row (
    proposal_id  uuid not null references proposal,
    sourced_id   text not null,
    primary key (proposal_id, sourced_id)
);
"""

COMMON = """
    source       text not null,
    sourced_id   text not null,
    status       text not null check (status in ('active', 'tobedeleted')),
    modified     timestamptz,
    extra        jsonb,
    digest       bytea not null,
    import_id    uuid not null,
    line         integer not null,
    primary key (source, sourced_id),
"""

ROSTER = f"""
create table organisation ({COMMON}
    id                 uuid not null unique default gen_random_uuid(),
    name               text not null,
    type               text not null,
    identifier         text,
    parent_sourced_id  text
);
comment on column organisation.id is 'ours, for life; sourced_id is the sender''s';

create table academic_session ({COMMON}
    title              text not null,
    type               text not null,
    start_date         date not null,
    end_date           date not null,
    parent_sourced_id  text,
    school_year        text not null
);

create table course ({COMMON}
    school_year_sourced_id  text,
    title                   text not null,
    course_code             text,
    grades                  text[] not null,
    org_sourced_id          text not null,
    subjects                text[] not null,
    subject_codes           text[] not null
);

create table class ({COMMON}
    title              text not null,
    grades             text[] not null,
    course_sourced_id  text not null,
    class_code         text,
    class_type         text not null,
    location           text,
    org_sourced_id     text not null,
    term_sourced_ids   text[] not null,
    subjects           text[] not null,
    subject_codes      text[] not null,
    periods            text[] not null
);

create table learner (
    id               text primary key,
    first_import_id  uuid not null,
    created_at       timestamptz not null default now()
);

create table account ({COMMON}
    enabled                 boolean not null,
    username                text not null,
    user_ids                jsonb,
    given_name              text not null,
    family_name             text not null,
    middle_name             text,
    identifier              text,
    email                   text,
    sms                     text,
    phone                   text,
    agent_sourced_ids       text[] not null,
    grades                  text[] not null,
    master_identifier       text,
    primary_org_sourced_id  text,
    learner_id              text references learner,
    identity_digest         bytea
);
create index account_learner on account (learner_id) where learner_id is not null;
comment on column account.identity_digest is 'of the national numbers that learner_id was found by';

create table user_profile ({COMMON}
    user_sourced_id  text not null,
    profile_type     text not null,
    vendor_id        text not null,
    application_id   text,
    description      text,
    credential_type  text not null,
    username         text not null
);
create index user_profile_user on user_profile (source, user_sourced_id);

create table role ({COMMON}
    user_sourced_id          text not null,
    role_type                text not null,
    role                     text not null,
    begin_date               date,
    end_date                 date,
    org_sourced_id           text not null,
    user_profile_sourced_id  text
);
create index role_user on role (source, user_sourced_id);

create table class_enrolment ({COMMON}
    class_sourced_id  text not null,
    org_sourced_id    text not null,
    user_sourced_id   text not null,
    role              text not null,
    is_primary        boolean,
    begin_date        date,
    end_date          date
);
create index class_enrolment_user on class_enrolment (source, user_sourced_id);

create table demographics ({COMMON}
    birth_date  date,
    sex         text
);
"""

# The exclusion constraint needs btree_gist, which services/stack/provision.py enables.
EPISODES = """
create table enrolment_episode (
    id               uuid primary key default gen_random_uuid(),
    learner_id       text not null references learner,
    organisation_id  uuid not null references organisation (id),
    stage            text check (stage ~ '^[0-8]$'),
    grade            text,
    valid_from       date not null,
    valid_to         date,
    from_basis       text not null check (from_basis in ('sent', 'school_year', 'received')),
    entry_reason     text not null
        check (entry_reason in ('enrolled', 'moved', 'stage_changed', 'became_primary')),
    exit_reason      text
        check (exit_reason in ('ended', 'moved', 'stage_changed', 'became_primary')),
    is_primary       boolean not null default false,
    rank             smallint not null,
    source           text not null,
    role_sourced_id  text not null,
    import_id        uuid not null,
    recorded_at      timestamptz not null default now(),
    check (valid_to is null or valid_to >= valid_from),
    check (valid_to is null = (exit_reason is null)),
    constraint one_primary_episode exclude using gist (
        learner_id with =, daterange(valid_from, valid_to) with &&
    ) where (is_primary)
);
create index enrolment_episode_learner on enrolment_episode (learner_id, valid_from);
create index enrolment_episode_role on enrolment_episode (source, role_sourced_id, valid_from);

create table episode_grade (
    episode_id  uuid not null references enrolment_episode,
    since       date not null,
    grade       text not null,
    import_id   uuid not null,
    primary key (episode_id, since)
);

comment on column enrolment_episode.stage is 'ISCED 2011 level';
comment on column enrolment_episode.from_basis is
    'how valid_from is known: sent by the school, else the school year''s start, else the day we heard of it';
comment on column enrolment_episode.rank is
    '0 the school the sender calls the primary one, 1 a school, 2 a second school';
"""


def upgrade() -> None:
    kit_tables()
    run_script(INTAKE + ROSTER + EPISODES)
