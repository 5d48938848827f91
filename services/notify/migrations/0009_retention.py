"""What is over is found by when it was over."""

from services.kit.migrations import run_script

revision = "0009"
down_revision = "0008"

SCHEMA = """
create index delivery_ended on delivery (state, timed_at) where next_at is null;
create index told_by_time on told (raised_at);
create index notification_by_time on notification (sent_at);
create index message_by_time on message (recorded_at);
create index escalation_over on escalation (over_at) where over_at is not null;
comment on column delivery.timed_at is
    'when next_at was said, or that there is none: a clock that stands before that has been turned back';
"""


def upgrade() -> None:
    run_script(SCHEMA)
