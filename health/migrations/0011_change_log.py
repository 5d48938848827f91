"""Changes of deaths go into the one log that the kit keeps of what is offered."""

from services.kit.migrations import change_log, changes_of, renewable, run_script

revision = "0011"
down_revision = "0010"

# Places given out before keep their meaning: the same transactions, the same numbers.
MOVE = """
delete from offer_change;
insert into offer_change (dataset, xid, seq, sector_id, was) overriding system value
select 'deaths', xid, seq, sector_id,
       case when was is not null then jsonb_build_array(jsonb_build_object('death_date', was)) end
from death_change;
select setval(pg_get_serial_sequence('offer_change', 'seq'), coalesce(max(seq), 0) + 1) from offer_change;
drop trigger death_known on patient_person;
drop trigger death_corrected on patient_person;
drop trigger death_withdrawn on patient_person;
drop function death_changed();
drop table death_change;
drop function renew_death_change_sector_id();
"""


def upgrade() -> None:
    change_log()
    changes_of(
        "deaths",
        "patient_person",
        person="sector_id",
        said={"death_date": "death_date"},
        shown=("pt", "sector_id", "death_date"),
        when="sector_id is not null and death_date is not null",
    )
    run_script(MOVE)
    renewable("offer_change", "sector_id")
