"""Resources are found by every search parameter of FHIR R4: text, numbers, quantities, URIs, positions; and a
reference row says which resource it leads to."""

from services.kit.migrations import run_script

revision = "0012"
down_revision = "0011"

SCHEMA = """
alter table ref add column key bigint not null default 0, add column target bigint;
alter table ref alter column key drop default;
comment on column ref.target is 'pk of the stored resource it leads to';
create index ref_to on ref (key, target, pk) where target is not null;

-- Values are folded, and compared byte by byte, so that the beginning of a text is a range of the index.
create table str (
    key    bigint not null,
    value  text collate "C" not null,
    exact  text collate "C",
    pk     bigint not null,
    pt     bigint not null
);
comment on column str.exact is 'the text as it was written, where it is not the folded one';
create index str_by_value on str (key, value, pk, pt);
create index str_of on str (pk);

create table num (
    key  bigint not null,
    lo   numeric not null,
    hi   numeric not null,
    pk   bigint not null,
    pt   bigint not null,
    primary key (key, lo, hi, pk, pt)
);
create index num_of on num (pk);

create table qty (
    key  bigint not null,
    lo   numeric not null,
    hi   numeric not null,
    pk   bigint not null,
    pt   bigint not null,
    primary key (key, lo, hi, pk, pt)
);
create index qty_of on qty (pk);

create table uri (
    key    bigint not null,
    value  text collate "C" not null,
    pk     bigint not null,
    pt     bigint not null,
    primary key (key, value, pk, pt)
);
create index uri_of on uri (pk);

create table pos (
    pk         bigint primary key,
    pt         bigint not null,
    latitude   double precision not null,
    longitude  double precision not null
);
create index pos_by_place on pos (latitude, longitude);

create index resource_by_time on resource (type, ts, pk);

-- What is kept already gets its rows from a job.
insert into job (id, kind, args, due_at, max_attempts)
select gen_random_uuid(), 'health.tasks:reindex', '{}', now(), 5
where exists (select from resource);
"""


def upgrade() -> None:
    run_script(SCHEMA)
