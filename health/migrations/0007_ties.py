"""Ties follow people who were decided to be one."""

from services.kit.migrations import run_script

revision = "0007"
down_revision = "0006"

SCHEMA = """
-- No key on the ids: while a sector's key is changed one entry may stand here under an old id and a new one.
create table merged_person (
    seq        bigint generated always as identity primary key,
    sector_id  text not null,
    now        text not null,
    told       bigint not null
);
create index merged_person_of on merged_person (sector_id);
create index merged_person_now on merged_person (now) where now <> sector_id;
comment on table merged_person is
    'ids of entries of the population register that are one person, and by which that person goes';
comment on column merged_person.told is 'the place of the last word on it in the log of identity';

-- Who treats whom by records that were kept before that was noted: worked out once, by a job.
insert into job (id, kind, args, due_at, max_attempts)
select gen_random_uuid(), 'health.tasks:fill_care', '{}', now(), 5
where exists (select from resource);
"""


def upgrade() -> None:
    run_script(SCHEMA)
