"""Consents of people, reports of wrong usages, and the recorded rights to hide a usage."""

from services.kit.migrations import run_script

revision = "0004"
down_revision = "0003"

SCHEMA = """
alter table agreement add column needs_consent boolean not null default false;
comment on column agreement.needs_consent is 'only those people are read who consent to it';

-- What a person (or a child's guardian) lets one organisation do, for one purpose, for a time. Only its end
-- can be added to it.
create table consent (
    id            uuid primary key,
    subject       text not null,
    given_by      text not null,
    organisation  text not null,
    purpose       text not null,
    actions       text[] not null,
    datasets      text[] not null,
    language      text not null check (language in ('zh', 'en')),
    given_at      timestamptz not null default clock_timestamp(),
    valid_from    timestamptz not null,
    valid_until   timestamptz not null check (valid_until > valid_from),
    revoked_at    timestamptz,
    revoked_by    text,
    check (cardinality(actions) + cardinality(datasets) > 0),
    check ((revoked_at is null) = (revoked_by is null))
);
create index consent_by_subject on consent (subject, id desc);

create function consent_only_ends() returns trigger language plpgsql as $$
begin
    if tg_op <> 'UPDATE' or old.revoked_at is not null
        or to_jsonb(new) - 'revoked_at' - 'revoked_by' <> to_jsonb(old) - 'revoked_at' - 'revoked_by'
    then
        raise exception 'a consent is never changed or deleted: it can only be revoked, once'
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end $$;
create trigger consent_only_ends before update or delete on consent
    for each row execute function consent_only_ends();

-- "This looks wrong": what a person says about one usage in their own list, and what became of it.
create table usage_report (
    id            uuid primary key,
    subject       text not null,
    reported_by   text not null,
    leaf_index    bigint not null,
    usage         jsonb not null,
    organisation  text,
    words         text not null,
    state         text not null default 'open' check (state in ('open', 'answered', 'closed')),
    opened_at     timestamptz not null default clock_timestamp(),
    due_at        timestamptz not null,
    overdue_at    timestamptz,
    answer        text,
    answered_by   text,
    answered_at   timestamptz,
    closed_at     timestamptz,
    check ((answer is null) = (answered_at is null) and (answer is null) = (answered_by is null)),
    check ((state = 'open') = (answered_at is null) and (state = 'closed') = (closed_at is not null))
);
create unique index usage_report_at_work on usage_report (subject, leaf_index) where state <> 'closed';
create index usage_report_by_subject on usage_report (subject, id desc);
create index usage_report_by_organisation on usage_report (organisation, id desc);
create index usage_report_due on usage_report (due_at) where state = 'open' and overdue_at is null;

-- By which law an organisation may keep a usage out of the person's list, until when, who decided it.
create table hiding_right (
    id            uuid primary key,
    organisation  text not null,
    legal_basis   text not null,
    valid_from    timestamptz not null default clock_timestamp(),
    valid_until   timestamptz not null check (valid_until > valid_from),
    decided_by    text not null,
    recorded_at   timestamptz not null default clock_timestamp()
);
create index hiding_right_by_organisation on hiding_right (organisation, valid_until);
create trigger hiding_right_append_only before update or delete or truncate on hiding_right
    for each statement execute function append_only();
"""


def upgrade() -> None:
    run_script(SCHEMA)
