"""In which order enrolments changed."""

from services.kit.migrations import change_log, changes_of, renewable, run_script

revision = "0007"
down_revision = "0006"

# A school's row stands in each of its pupils'.
SCHOOL = """
create function school_changed() returns trigger language plpgsql as $$
begin
    insert into offer_change (dataset, sector_id)
    select distinct 'enrolments', learner_id from enrolment_episode
    where is_primary and organisation_id = new.id;
    return null;
end $$;
create trigger school_changed after update on organisation
    for each row when ((old.name, old.identifier) is distinct from (new.name, new.identifier))
    execute function school_changed();
"""


def upgrade() -> None:
    change_log()
    changes_of(
        "enrolments",
        "enrolment_episode",
        person="learner_id",
        said={name: name for name in ("stage", "valid_from", "valid_to")},
        shown=("id", "learner_id", "organisation_id", "stage", "valid_from", "valid_to", "is_primary"),
        when="is_primary",
    )
    run_script(SCHOOL)
    renewable("offer_change", "sector_id")
