"""Matching beyond identifiers: keys to find people by, pairs to decide, who is one person."""

from services.kit.migrations import run_script

revision = "0003"
down_revision = "0002"

SCHEMA = """
alter table person
    add column phone_hmac bytea,
    add column root uuid references person,
    add column keyed smallint not null default 0;
create index person_root on person (root) where root is not null;
create index person_unkeyed on person (pid) where keyed = 0;
comment on column person.phone_hmac is 'blind index of the telephone number, which itself is not kept';
comment on column person.root is
    'the eldest of those decided to be one person with this one; null where it is that itself';
comment on column person.keyed is 'the version of the blocking keys kept for this person; 0 is none';

-- Where records that may be one person meet. Blind, as a key says a name and a birth date.
create table block_key (
    key       bytea not null,
    pid       uuid not null references person,
    numbered  boolean not null,
    primary key (key, numbered, pid)
);
create index block_key_pid on block_key (pid) where not numbered;
comment on column block_key.numbered is
    'the person has a citizen number: of no use to a push that has another one';

-- A pair that may be one person: evidence, and what was decided. The pairs decided `same` are what makes
-- several source persons one; nothing of theirs is moved, so that taking a decision back restores all.
create table match_review (
    id          uuid primary key,
    pid         uuid not null references person,
    other       uuid not null references person,
    why         text not null check (why in ('model', 'identifiers', 'clerk')),
    model       text not null,
    weight      double precision not null,
    evidence    jsonb not null,
    state       text not null check (state in ('open', 'unsure', 'same', 'different')),
    source      text not null,
    created_at  timestamptz not null default now(),
    decided_by  text,
    decided_at  timestamptz,
    reason      text,
    check (pid <> other)
);
create unique index match_review_pair on match_review (least(pid, other), greatest(pid, other));
create index match_review_queue on match_review (state, id);
create index match_review_of on match_review (pid, state);
create index match_review_with on match_review (other, state);

-- Every decision in its order, the model's own too; who is one person with whom follows from it alone.
create table match_decision (
    seq       bigint generated always as identity primary key,
    review    uuid not null,
    pid       uuid not null,
    other     uuid not null,
    decision  text not null check (decision in ('unsure', 'same', 'different')),
    by        text not null,
    reason    text not null,
    at        timestamptz not null default now()
);
create index match_decision_review on match_decision (review, seq);
create trigger match_decision_append_only before update or delete or truncate on match_decision
    for each statement execute function append_only();
alter table match_decision enable always trigger match_decision_append_only;
revoke update, delete, truncate on match_decision from current_user;
"""


def upgrade() -> None:
    run_script(SCHEMA)
