"""Sites, zones, sensors, readings, windows, occupancy, capacity policies, warnings."""

from services.kit.migrations import kit_tables, run_script

revision = "0001"
down_revision = None

TABLES = """
create table site (
    id text primary key,
    name_zh text not null,
    name_en text not null,
    area text not null,
    owner text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table zone (
    id text primary key,
    site text references site,
    name_zh text not null,
    name_en text not null,
    area text not null,
    effective_area_m2 numeric(14, 2) check (effective_area_m2 > 0),
    geometry jsonb,
    owner text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index zone_by_area on zone (area text_pattern_ops, id);
create index zone_by_site on zone (site);

create table sensor (
    id text primary key,
    kind text not null,
    zone_from text references zone,
    zone_to text references zone,
    period_seconds integer not null check (period_seconds > 0),
    operator text,
    owner text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (zone_from <> zone_to)
);
create index sensor_by_zone_from on sensor (zone_from);
create index sensor_by_zone_to on sensor (zone_to);

create table sensor_state (
    sensor text primary key references sensor,
    latest_at timestamptz not null,
    received_at timestamptz not null,
    readings bigint not null default 0
) with (fillfactor = 50);

-- No foreign key to sensor: the intake has looked the sensor up in the same transaction, and a check per row
-- would cost more than the row.
create table reading (
    sensor text not null,
    seq bigint,
    starts timestamptz not null,
    ends timestamptz not null,
    n_in integer not null check (n_in >= 0),
    n_out integer not null check (n_out >= 0),
    zone_from text,
    zone_to text,
    received_at timestamptz not null default now(),
    check (ends > starts)
);
-- Two keys, not one over all columns: a resend with a shifted clock must not count twice.
create unique index reading_by_seq on reading (sensor, seq) where seq is not null;
create unique index reading_by_span on reading (sensor, starts, ends) where seq is null;
-- Readings arrive nearly in the order they ended: a few pages of summary find one minute of them.
create index reading_by_end on reading using brin (ends) with (pages_per_range = 16);

create table flow_window (
    zone text not null references zone,
    minute timestamptz not null,
    n_in bigint not null,
    n_out bigint not null,
    readings integer not null,
    revision integer not null default 0,
    updated_at timestamptz not null default now(),
    primary key (zone, minute)
);

create table occupancy_anchor (
    zone text not null references zone,
    at timestamptz not null,
    people integer not null check (people >= 0),
    source text not null,
    recorded_by text not null,
    recorded_at timestamptz not null default now(),
    primary key (zone, at)
);

create table capacity_policy (
    id uuid primary key,
    zone text not null references zone,
    valid_from timestamptz not null,
    capacity integer not null check (capacity > 0),
    content jsonb not null,
    set_by text not null,
    set_at timestamptz not null default now(),
    unique (zone, valid_from)
);

create table zone_state (
    zone text primary key references zone,
    anchor_at timestamptz,
    anchor_people integer not null default 0,
    net bigint not null default 0,
    latest_at timestamptz,
    open_minute timestamptz,
    policy uuid,
    level smallint not null default 0,
    above smallint[] not null default '{0,0,0}',
    below smallint[] not null default '{0,0,0}',
    episode integer not null default 0,
    revision integer not null default 0,
    observed_at timestamptz
) with (fillfactor = 50);

create table warning (
    id uuid primary key,
    zone text not null references zone,
    policy uuid not null references capacity_policy,
    episode integer not null,
    level smallint not null check (level between 1 and 3),
    state text not null check (state in ('active', 'superseded', 'lowered', 'ended')),
    cause text not null check (cause in ('flow', 'count')),
    people integer not null,
    capacity integer not null,
    raised_at timestamptz not null,
    changed_at timestamptz not null,
    ended_at timestamptz,
    recorded_at timestamptz not null default now(),
    acknowledged_by text,
    acknowledged_for text,
    acknowledged_at timestamptz,
    note text,
    unique (zone, policy, episode, level)
);
-- A zone has at most one warning that holds now.
create unique index warning_active on warning (zone) where state = 'active';
create index warning_newest on warning (raised_at desc, id desc);
create index warning_of_zone on warning (zone, raised_at desc, id desc);

create table warning_change (
    zone text not null references zone,
    episode integer not null,
    revision integer not null,
    kind text not null,
    level smallint not null,
    previous smallint not null,
    people integer not null,
    capacity integer not null,
    at timestamptz not null,
    warning uuid not null references warning,
    event uuid not null,
    primary key (zone, episode, revision)
);
create index warning_change_of_warning on warning_change (warning);

create table refused_reading (
    id bigint generated always as identity primary key,
    receipt uuid not null,
    client text not null,
    line integer not null,
    code text not null,
    field text,
    message text not null,
    body text not null,
    received_at timestamptz not null default now()
);
create index refused_reading_by_receipt on refused_reading (receipt, line);
"""


def upgrade() -> None:
    kit_tables()
    run_script(TABLES)
