"""Resources with their history, what they are found by, and whose they are."""

from services.kit.migrations import kit_tables, run_script

revision = "0001"
down_revision = None

# Index rows carry pt, the patient compartment's key, so that access can be decided in the index and tables
# can be split by patient. They have no foreign key: the repository alone writes them, with the resource.
SCHEMA = """
create sequence resource_pk as bigint;

create table resource (
    pk            bigint primary key,
    type          text not null,
    id            text not null,
    version       integer not null,
    ts            timestamptz not null,
    pt            bigint not null,
    occurred      bigint not null,
    organisation  text,
    client        text not null,
    body          text not null
);
comment on column resource.pt is 'pk of the Patient it belongs to; 0 where it belongs to none';
comment on column resource.occurred is 'when it happened, else when it came; microseconds since 1970';
create unique index resource_by_id on resource (type, id);
create index resource_by_type on resource (type, pk);
create index resource_by_patient on resource (pt, type, occurred desc, pk desc) where pt <> 0;

-- Every version ever accepted, chained per resource. The bodies of earlier versions stand in superseded.
create table history (
    pk            bigint not null,
    version       integer not null,
    ts            timestamptz not null,
    method        text not null check (method in ('POST', 'PUT')),
    organisation  text,
    client        text not null,
    link          bytea not null check (octet_length(link) = 32),
    primary key (pk, version)
);
comment on column history.link is 'services.kit.canonical.chain over the version before and this one';

create table superseded (
    pk       bigint not null,
    version  integer not null,
    body     text not null,
    primary key (pk, version)
);

create trigger history_append_only before update or delete or truncate on history
    for each statement execute function append_only();
create trigger superseded_append_only before update or delete or truncate on superseded
    for each statement execute function append_only();
alter table history enable always trigger history_append_only;
alter table superseded enable always trigger superseded_append_only;
revoke update, delete, truncate on history, superseded from current_user;

create table tok (
    hash  bigint not null,
    pk    bigint not null,
    pt    bigint not null,
    primary key (hash, pk, pt)
);
create index tok_of on tok (pk);

create table ref (
    hash  bigint not null,
    pk    bigint not null,
    pt    bigint not null,
    primary key (hash, pk, pt)
);
create index ref_of on ref (pk);

-- [lo, hi) in microseconds since 1970; the least and greatest bigint stand for no bound.
create table dat (
    key  bigint not null,
    lo   bigint not null,
    hi   bigint not null,
    pk   bigint not null,
    pt   bigint not null,
    primary key (key, lo, hi, pk, pt)
);
create index dat_by_end on dat (key, hi, pk);
create index dat_of on dat (pk, key);

create table patient_person (
    pt          bigint primary key,
    sector_id   text,
    outcome     text not null check (outcome in ('matched', 'created', 'conflict', 'unknown')),
    deceased    boolean not null,
    death_date  date,
    updated_at  timestamptz not null
);
create index patient_person_by_sector_id on patient_person (sector_id) where sector_id is not null;
create index patient_person_deaths on patient_person (sector_id) where death_date is not null;
"""


def upgrade() -> None:
    kit_tables()
    run_script(SCHEMA)
