"""In which order deaths became known and were corrected."""

from services.kit.migrations import run_script

revision = "0005"
down_revision = "0004"

SCHEMA = """
-- Whose date of death changed, and what it was before. Transactions are in order only once all earlier ones
-- have ended: whoever reads this stops at the first that may still go on.
create table death_change (
    xid        xid8 not null default pg_current_xact_id(),
    seq        bigint generated always as identity,
    sector_id  text not null,
    was        date,
    primary key (xid, seq)
);

-- A trigger: no statement can forget it.
create function death_changed() returns trigger language plpgsql as $$
begin
    if tg_op <> 'INSERT' and old.sector_id is not null and old.death_date is not null then
        insert into death_change (sector_id, was) values (old.sector_id, old.death_date);
    end if;
    if tg_op <> 'DELETE' and new.sector_id is not null and new.death_date is not null then
        insert into death_change (sector_id) values (new.sector_id);
    end if;
    return null;
end $$;
create trigger death_known after insert on patient_person
    for each row when (new.death_date is not null) execute function death_changed();
create trigger death_corrected after update on patient_person
    for each row when (
        old.death_date is distinct from new.death_date or old.sector_id is distinct from new.sector_id)
    execute function death_changed();
create trigger death_withdrawn after delete on patient_person
    for each row when (old.death_date is not null) execute function death_changed();

insert into death_change (sector_id)
select distinct sector_id from patient_person where sector_id is not null and death_date is not null;
"""


def upgrade() -> None:
    run_script(SCHEMA)
