"""Ids of people follow the sector's key; a finding is known by its evidence alone."""

from services.kit.migrations import renewable, renewal_tables, run_script

revision = "0005"
down_revision = "0004"

# Whose row an evidence is can be told from the row: a finding's key has no id of a person in it any more. Of
# several about the same rows (their person was found to be another one) the one that stands takes the key.
SCHEMA = """
with keyed as (
    select finding_key as was, status, last_seen_at, encode(sha256(convert_to(rule || (
        select string_agg(
            E'\\x1d' || (item ->> 'kind') || E'\\x1e' || (item ->> 'organisation')
                || E'\\x1e' || (item ->> 'key'),
            '' order by place)
        from jsonb_array_elements(evidence) with ordinality as one (item, place)), 'UTF8')), 'hex') as now
    from finding
), chosen as (
    select distinct on (now) was, now from keyed order by now, status = 'open' desc, last_seen_at desc
)
update finding set finding_key = now from chosen where finding_key = was;
"""


def upgrade() -> None:
    run_script(SCHEMA)
    renewal_tables()
    renewable("contribution", "person")
    renewable("payment", "person")
    renewable("claim", "person")
    renewable("told_death", "person")
    renewable("finding", "subject")
