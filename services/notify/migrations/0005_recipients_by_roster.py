"""Who is told what: duty rosters, notifications, quiet hours, and the due-table of escalation."""

from services.kit.migrations import run_script

revision = "0005"
down_revision = "0004"

SCHEMA = """
create table roster (
    id uuid primary key,
    organisation text not null,
    name_zh text not null,
    name_en text not null,
    area text not null,
    area_prefix text not null,
    sites text[],
    from_level smallint not null,
    kept_by text not null,
    kept_at timestamptz not null,
    closed_at timestamptz
);
comment on column roster.area_prefix is 'what the codes of all places inside the area begin with';
comment on column roster.sites is 'those it is for; null for every one of the area';

create table roster_member (
    roster uuid not null references roster,
    recipient text not null,
    name text not null,
    joined_at timestamptz not null,
    confirmed_by text,
    confirmed_at timestamptz,
    primary key (roster, recipient)
);
create index roster_member_by_recipient on roster_member (recipient);

-- Hours of the day are those of Asia/Shanghai; a duty that ends before it begins ends on the next day.
create table duty (
    roster uuid not null,
    place smallint not null,
    recipient text not null,
    tier smallint not null check (tier >= 1),
    weekdays smallint[] not null,
    starts time not null,
    ends time not null,
    first_day date not null,
    last_day date,
    primary key (roster, place),
    foreign key (roster, recipient) references roster_member on delete cascade on update cascade
);
create table duty_swap (
    id uuid primary key,
    roster uuid not null,
    day date not null,
    recipient text not null,
    substitute text not null,
    asked_by text not null,
    asked_at timestamptz not null,
    accepted_at timestamptz,
    unique (roster, day, recipient),
    foreign key (roster, recipient) references roster_member on delete cascade on update cascade,
    foreign key (roster, substitute) references roster_member on delete cascade on update cascade
);

create table notification (
    id uuid primary key,
    recipient text not null,
    event_id uuid not null,
    fact text not null,
    type text not null,
    tier smallint,
    level smallint,
    area text,
    urgent boolean not null,
    words jsonb not null,
    acknowledge text,
    raised_at timestamptz not null,
    sent_at timestamptz not null,
    delivered_at timestamptz,
    read_at timestamptz,
    unique (event_id, recipient)
) with (fillfactor = 80);
comment on column notification.tier is 'of the ladder; null where somebody is told as who they are';
comment on column notification.acknowledge is 'what is to be acknowledged, as transport.warning/<id>';
create index notification_by_recipient on notification (recipient, id);
create index notification_by_fact on notification (fact);

create table quiet_hours (
    recipient text primary key,
    starts time not null,
    ends time not null,
    time_zone text not null
);

-- One row for each fact that has to be acknowledged. `step` steps of the ladder are done; the next is due at
-- `next_at`, which was said at `planned_at`: a clock that stands before that has been turned back.
create table escalation (
    fact text primary key,
    thing text not null,
    event jsonb not null,
    area text,
    site text,
    level smallint not null,
    since timestamptz not null,
    step smallint not null,
    told integer not null,
    planned_at timestamptz not null,
    next_at timestamptz,
    unattended_at timestamptz,
    acknowledged_at timestamptz,
    over_at timestamptz
) with (fillfactor = 80);
comment on column escalation.thing is 'aggregate of its events; its facts follow each other';
comment on column escalation.unattended_at is 'when a step was due and there was nobody to tell';
create index escalation_due on escalation (next_at) where next_at is not null;
create index escalation_open on escalation (thing) where over_at is null;
create index escalation_by_since on escalation (since, fact);

alter table message drop constraint message_event_id_topic_key,
    add unique nulls not distinct (event_id, topic, recipient);
"""


def upgrade() -> None:
    run_script(SCHEMA)
