"""What is shown of a resource whose parts are specially protected, and each organisation's own accesses."""

from services.kit.migrations import run_script

revision = "0018"
down_revision = "0017"

SCHEMA = """
alter table resource add column redacted text;
comment on column resource.redacted is
    'the body without its specially protected parts, for those who may not read them; null: it has none';

create index leaf_member_by_leaf on leaf_member (leaf_seq);
create index leaf_by_organisation on leaf ((body::json ->> 'organisation'), at desc, seq);
"""


def upgrade() -> None:
    run_script(SCHEMA)
