"""Local identifiers are the organisation's that sent them; a clerk's merge waits for another clerk."""

from services.kit.migrations import run_script

revision = "0007"
down_revision = "0006"

VAULT = """
reset role;
-- A client that pushes by itself is its organisation. Whom a service pushed for was not kept: those links
-- stay without a scope, and count only where name and birth date agree with what is known.
alter table vault.link add column scope text not null default '';
alter table vault.link alter column scope drop default;
update vault.link set scope = coalesce(client.organisation, client.client_id)
from client where client.client_id = link.source;
alter table vault.link drop constraint link_pkey, add primary key (source_system, local_hmac, scope);
comment on column vault.link.scope is
    'the organisation whose identifier it is; empty for one kept before organisations were told apart';
set local role huimin_identity;
"""

REVIEWS = """
alter table match_review drop constraint match_review_state_check,
    add check (state in ('open', 'unsure', 'proposed', 'same', 'different')),
    add column proposed_by text,
    -- Whoever proposed that two are one person does not confirm it.
    add check (state <> 'same' or decided_by <> proposed_by),
    add check (state <> 'proposed' or proposed_by is not null);
alter table match_decision drop constraint match_decision_decision_check,
    add check (decision in ('unsure', 'proposed', 'same', 'different'));
comment on column match_review.proposed_by is 'the clerk whose word another clerk had, or has, to confirm';
"""


def upgrade() -> None:
    run_script(VAULT + REVIEWS)
