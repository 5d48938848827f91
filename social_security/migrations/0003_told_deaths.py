"""Deaths as the exchange told of them."""

from services.kit.migrations import run_script

revision = "0003"
down_revision = "0002"

SCHEMA = """
create table told_death (
    agreement  text not null,
    person     text not null,
    died_on    date not null,
    primary key (agreement, person)
);
"""


def upgrade() -> None:
    run_script(SCHEMA)
