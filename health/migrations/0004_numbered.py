"""A treatment relation counts for a person's records elsewhere only by a Patient with a citizen number."""

from services.kit.migrations import run_script

revision = "0004"
down_revision = "0003"

SCHEMA = """
alter table patient_person add column numbered boolean not null default false;
comment on column patient_person.numbered is 'the Patient states the person''s citizen number';
update patient_person p set numbered = true from resource r
where r.pk = p.pt and exists (
    select from json_array_elements(r.body::json -> 'identifier') i
    where i ->> 'system' = 'urn:huimin:id:citizen-number');

create index care_about on care (pt);
"""


def upgrade() -> None:
    run_script(SCHEMA)
