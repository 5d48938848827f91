"""Tiles from the leaves up, which only ever grow; heads found by day."""

from services.kit.migrations import run_script

revision = "0003"
down_revision = "0002"

# A tile of level 0 repeats the hashes of 256 leaves: of a leaf whose body and hash are altered together, it
# still tells which one it was.
SCHEMA = """
alter table tile drop constraint tile_level_check;
alter table tile add check (level >= 0), add check (octet_length(hashes) between 32 and 8192);

insert into tile (level, number, hashes)
select 0, index / 256, string_agg(hash, ''::bytea order by index) from tree_leaf group by index / 256;

create function grows_only() returns trigger language plpgsql as $$
begin
    if (new.level, new.number) is distinct from (old.level, old.number)
        or substring(new.hashes for octet_length(old.hashes)) is distinct from old.hashes
    then
        raise exception 'tile is append-only: % is refused', lower(tg_op)
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end $$;
create trigger tile_grows_only before update on tile for each row execute function grows_only();
create trigger tile_append_only before delete or truncate on tile
    for each statement execute function append_only();
alter table tile enable always trigger tile_grows_only;
alter table tile enable always trigger tile_append_only;
revoke delete, truncate on tile from current_user;

alter table tree_leaf add check (index >= 0);

create index head_by_time on head (at);
"""


def upgrade() -> None:
    run_script(SCHEMA)
