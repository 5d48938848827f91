"""What ties a person to numbers and to sector ids moves into a schema of its own, under a role of its own.

The step runs signed in as `huimin_vault`, which may do all that `huimin_identity` may; what has been moved
is out of the latter's reach.
"""

from services.kit.migrations import run_script

revision = "0004"
down_revision = "0003"

MOVED = ("identifier", "link", "sector_key", "sector_id")

MOVE = """
alter table {table} owner to huimin_vault;
alter table {table} set schema vault;
"""

ROTATION = """
-- offered: being made ready, or ready once prepared_at says so: its ids are understood, not given out yet;
-- current: given out; leaving: understood until the end of its overlap; retired: an id of it is refused.
alter table vault.sector_key
    add column state text not null default 'current'
        check (state in ('offered', 'current', 'leaving', 'retired')),
    add column understood_until timestamptz,
    add column prepared_at timestamptz,
    add column overlap_days integer not null default 30 check (overlap_days > 0),
    add check ((state in ('leaving', 'retired')) = (understood_until is not null));
create unique index sector_key_one_current on vault.sector_key (sector) where state = 'current';
create unique index sector_key_one_offered on vault.sector_key (sector) where state = 'offered';
create index sector_id_by_version on vault.sector_id (sector, version, id);
"""


def upgrade() -> None:
    moves = "".join(MOVE.format(table=table) for table in MOVED)
    run_script(f"reset role; {moves} {ROTATION} set local role huimin_identity;")
