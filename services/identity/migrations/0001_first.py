"""The base registers (people, organisations, places, guardianship) and what tokens are issued from."""

from services.kit.migrations import kit_tables, run_script

revision = "0001"
down_revision = None

SCHEMA = """
create table person (
    pid         uuid primary key,
    name        text,
    birth_date  date,
    sex         text check (sex in ('male', 'female', 'other', 'unknown')),
    death_date  date,
    area        text,
    registered  boolean not null default false,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now()
);
comment on column person.registered is 'the population registry has spoken';

-- Encrypted at rest; found by the blind index alone.
create table identifier (
    scheme      text not null,
    value_hmac  bytea not null,
    value_enc   bytea not null,
    pid         uuid not null references person,
    source      text not null,
    created_at  timestamptz not null default now(),
    primary key (scheme, value_hmac)
);
create index identifier_pid on identifier (pid);
-- Two citizen numbers for one person are a conflict somebody must look at, never a silent merge.
create unique index identifier_one_citizen_number on identifier (pid)
    where scheme = 'urn:huimin:id:citizen-number';

-- A sender's own identifiers: one source record names at most one person.
create table link (
    source_system  text not null,
    local_hmac     bytea not null,
    local_enc      bytea not null,
    pid            uuid not null references person,
    source         text not null,
    decided_by     text not null default 'exact',
    created_at     timestamptz not null default now(),
    primary key (source_system, local_hmac)
);
create index link_pid on link (pid);

create table sector_key (
    sector       text not null,
    version      integer not null,
    wrapped_key  bytea not null,
    created_at   timestamptz not null default now(),
    primary key (sector, version)
);

-- The way back from a sector id to the person; only this service may take it.
create table sector_id (
    id       text primary key,
    sector   text not null,
    version  integer not null,
    pid      uuid not null references person
);
create index sector_id_pid on sector_id (pid);

create table guardianship (
    guardian    uuid not null references person,
    ward        uuid not null references person,
    relation    text not null check (relation in ('parent', 'grandparent', 'sibling', 'appointed')),
    valid_from  date not null,
    valid_to    date,
    source      text not null,
    created_at  timestamptz not null default now(),
    primary key (guardian, ward, relation, valid_from),
    check (guardian <> ward),
    check (valid_to is null or valid_to > valid_from)
);
create index guardianship_ward on guardianship (ward);

create table organisation (
    uscc        text primary key,
    name        text not null,
    name_en     text,
    kind        text not null,
    area        text not null,
    parent      text references organisation deferrable initially deferred,
    source      text not null,
    updated_at  timestamptz not null default now()
);
create index organisation_area on organisation (area);

create table place (
    code        text primary key,
    name        text not null,
    name_en     text,
    parent      text references place deferrable initially deferred,
    level       text not null check (level in ('province', 'prefecture', 'county', 'township', 'village')),
    valid_from  date,
    valid_to    date,
    source      text not null,
    updated_at  timestamptz not null default now(),
    check (valid_to is null or valid_from is null or valid_to > valid_from)
);
create index place_parent on place (parent);

create table signing_key (
    kid           text primary key,
    state         text not null check (state in ('next', 'active', 'retired')),
    public_jwk    jsonb not null,
    private_enc   bytea not null,
    created_at    timestamptz not null default now(),
    activated_at  timestamptz,
    retired_at    timestamptz
);
create unique index signing_key_one_active on signing_key (state) where state = 'active';
create unique index signing_key_one_next on signing_key (state) where state = 'next';

create table client (
    client_id      text primary key,
    kind           text not null,
    name           text not null,
    organisation   text,
    area           text,
    jwk            jsonb,
    redirect_uris  text[] not null default '{}',
    created_by     text not null,
    created_at     timestamptz not null default now(),
    revoked_at     timestamptz
);

create table used_assertion (
    client_id   text not null,
    jti         text not null,
    expires_at  timestamptz not null,
    primary key (client_id, jti)
);
create index used_assertion_expiry on used_assertion (expires_at);

create table account (
    id             text primary key,
    kind           text not null check (kind in ('person', 'staff')),
    username       text unique,
    password_hash  text,
    roles          text[] not null default '{}',
    areas          text[] not null default '{}',
    organisation   text,
    pid            uuid references person,
    created_at     timestamptz not null default now(),
    disabled_at    timestamptz
);

create table external_identity (
    issuer      text not null,
    subject     text not null,
    account_id  text not null references account,
    created_at  timestamptz not null default now(),
    primary key (issuer, subject)
);

-- Keyed by an HMAC of the user name or the address, so that it says nothing to who reads it.
create table signin_failure (
    key           bytea primary key,
    failures      integer not null,
    last_at       timestamptz not null,
    locked_until  timestamptz
);

create table session (
    id          uuid primary key,
    account_id  text not null references account,
    client_id   text not null,
    scope       text not null,
    auth_time   timestamptz not null,
    expires_at  timestamptz not null,
    revoked_at  timestamptz
);
create index session_expiry on session (expires_at);

create table authorization_code (
    code_hash       bytea primary key,
    session_id      uuid not null references session on delete cascade,
    redirect_uri    text not null,
    code_challenge  text not null,
    nonce           text,
    expires_at      timestamptz not null,
    used_at         timestamptz
);

create table refresh_token (
    token_hash  bytea primary key,
    session_id  uuid not null references session on delete cascade,
    expires_at  timestamptz not null,
    used_at     timestamptz
);
create index refresh_token_session on refresh_token (session_id);

create table revoked_token (
    jti         text primary key,
    expires_at  timestamptz not null
);
"""


def upgrade() -> None:
    kit_tables()
    run_script(SCHEMA)
