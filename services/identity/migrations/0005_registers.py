"""Households, births, deaths, residence; legal entities with status and term; areas as they were before."""

from services.kit.migrations import run_script

revision = "0005"
down_revision = "0004"

SCHEMA = """
create table household (
    code        text primary key,
    area        text not null,
    kind        text not null check (kind in ('family', 'collective')),
    valid_from  date not null,
    valid_to    date,
    source      text not null,
    updated_at  timestamptz not null default now(),
    check (valid_to is null or valid_to > valid_from)
);

-- Nobody belongs to two households on one day, and no household has two heads.
create table household_member (
    household   text not null references household,
    pid         uuid not null references person,
    valid_from  date not null,
    relation    text not null check (relation in (
                    'head', 'spouse', 'child', 'grandchild', 'parent', 'grandparent', 'sibling', 'other')),
    valid_to    date,
    source      text not null,
    primary key (household, pid, valid_from),
    check (valid_to is null or valid_to > valid_from),
    constraint household_member_one_household
        exclude using gist (pid with =, daterange(valid_from, valid_to) with &&)
        deferrable initially deferred,
    constraint household_member_one_head
        exclude using gist (household with =, daterange(valid_from, valid_to) with &&)
        where (relation = 'head') deferrable initially deferred
);

create table birth (
    pid            uuid primary key references person,
    registered_on  date not null,
    area           text not null,
    place          text,
    mother         uuid references person,
    father         uuid references person,
    source         text not null,
    recorded_at    timestamptz not null default now(),
    seq            bigint generated always as identity unique,
    check (pid <> mother and pid <> father and mother <> father)
);

create table death (
    pid            uuid primary key references person,
    died_on        date not null,
    registered_on  date not null check (registered_on >= died_on),
    area           text not null,
    place          text,
    source         text not null,
    recorded_at    timestamptz not null default now(),
    seq            bigint generated always as identity unique
);

-- Where somebody has lived since when; each entry holds until the next one.
create table residence (
    pid     uuid not null references person,
    since   date not null,
    area    text,
    source  text not null,
    seq     bigint generated always as identity unique,
    primary key (pid, since)
);
comment on column residence.area is 'null: moved out of the country, or struck off the register';

alter table organisation
    add column status text not null default 'active'
        check (status in ('active', 'suspended', 'revoked', 'dissolved')),
    add column representative uuid references person,
    add column valid_from date,
    add column valid_to date,
    add check (valid_to > valid_from);

-- What an area was called until then.
create table place_former (
    code        text not null references place,
    until       date not null,
    valid_from  date,
    name        text not null,
    name_en     text,
    primary key (code, until),
    check (valid_from is null or until > valid_from)
);

-- Into which areas a code went when it ended: one for a change or a merger, several for a split.
create table place_successor (
    code       text not null references place,
    successor  text not null references place,
    primary key (code, successor),
    check (code <> successor)
);
"""


def upgrade() -> None:
    run_script(SCHEMA)
