"""How a term was counted; subscriptions that staff hold back."""

from services.kit.migrations import run_script

revision = "0010"
down_revision = "0009"

SCHEMA = """
-- Terms of before counted Monday to Friday.
alter table agreement add column due_by_weekdays boolean not null default true;
alter table usage_report add column due_by_weekdays boolean not null default true;
alter table export_application add column due_by_weekdays boolean not null default true;

alter table subscription drop constraint subscription_state_check;
alter table subscription add check (state in ('active', 'paused', 'parked', 'ended'));
alter table subscription add column even_at timestamptz;
comment on column subscription.even_at is 'when it was last seen that everything there was had been told';
comment on column subscription.state is 'paused by staff, parked because its consumer refused a batch';
"""


def upgrade() -> None:
    run_script(SCHEMA)
