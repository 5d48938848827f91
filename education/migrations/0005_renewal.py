"""Ids of people follow the sector's key."""

from services.kit.migrations import renewable, renewal_tables, run_script

revision = "0005"
down_revision = "0004"

# A learner's rows move with the learner, in one commit but in several statements.
SCHEMA = """
alter table account alter constraint account_learner_id_fkey deferrable;
alter table enrolment_episode alter constraint enrolment_episode_learner_id_fkey deferrable;
"""


def upgrade() -> None:
    run_script(SCHEMA)
    renewal_tables()
    renewable("learner", "id")
    renewable("account", "learner_id")
    renewable("enrolment_episode", "learner_id")
