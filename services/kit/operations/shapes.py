"""The wire types of `GET /<prefix>/operations`. Nothing of a person stands in them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

HOURS = 24
"""How far back what is counted by the hour is shown."""


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Process(Shape):
    """A part of the service's work, and the process that was last at it.

    Attributes:
        role: application, relay, consumer, jobs; worker is the job worker, seen by a job it finished.
        process: host and process id; None for the worker, which says nothing of itself.
        alive: how many processes were at it within the last half minute.
        silent_s: since the last sign of life, by the database's clock; None when there never was one.
    """

    role: str
    process: str | None = None
    alive: int
    started_at: datetime | None = None
    silent_s: float | None


class Relay(Shape):
    """Events committed and not yet on the stream."""

    waiting: int
    oldest_s: float


class Reader(Shape):
    """How far a service is behind in taking in this one's events."""

    reader: str
    behind: int
    heard_at: datetime | None


class DeadLetters(Shape):
    """Events that were not taken in: those that wait for a person, and those that are tried again."""

    waiting: int
    parked: int
    oldest_at: datetime | None


class Jobs(Shape):
    queued: int
    running: int
    done: int
    failed: int
    cancelled: int
    overdue_s: float = Field(description="Age of the oldest that is due and has not begun")


class Failure(Shape):
    """One reason for which pushes of a sender came to nothing.

    Attributes:
        reason: the problem's code; empty where there was none.
    """

    door: str
    status: int
    reason: str
    count: int


class FailedPushes(Shape):
    """A sender's pushes of the last 24 hours that were refused (4xx) or failed (5xx).

    Attributes:
        organisation: empty for those who did not prove who they are.
        hours: how many in each hour, the current one last.
        reasons: the most frequent.
    """

    organisation: str
    client: str
    refused: int
    failed: int
    last_at: datetime
    hours: list[int] = Field(min_length=HOURS, max_length=HOURS)
    reasons: list[Failure]


class Deliveries(Shape):
    """What was told over one channel in the last 24 hours; times are seconds from when it was raised."""

    channel: str
    raised: int
    sent: int
    delivered: int
    acknowledged: int
    waiting: int
    dead: int
    sent_p50_s: float | None
    sent_p95_s: float | None
    delivered_p50_s: float | None
    delivered_p95_s: float | None


class Freshness(Shape):
    """A dataset on offer, and whether it is as new as its update cycle promises."""

    dataset: str
    title_zh: str
    title_en: str
    update_cycle: str
    fresh_at: datetime | None
    late: bool | None


class Outcome(Shape):
    """How the newest backup, drill, restore or promotion ended."""

    kind: str
    at: datetime
    ok: bool
    seconds: float | None = None
    rpo_s: float | None = None
    rto_s: float | None = None
    bytes: int | None = None
    detail: str = ""


class Disk(Shape):
    """Room left where a process of the service keeps files.

    Attributes:
        name: home, or database where its data lie on this machine.
        reserve_bytes: with less than this, pushes are refused.
    """

    name: str
    free_bytes: int
    total_bytes: int
    reserve_bytes: int


class Renewal(Shape):
    """How far the service is with a new key version of its sector (services.kit.renewal).

    Attributes:
        state: of the job that takes the new ids and switches to them.
        done: ids taken, of `total`.
        due_at: when that job is, or was, to begin.
        error: what its last attempt failed of.
        switched_at: since when the new ids are stored; the old ones are understood until `understood_until`.
    """

    version: int
    state: str
    done: int
    total: int | None
    due_at: datetime
    error: str | None
    switched_at: datetime | None
    understood_until: datetime | None


class Operations(Shape):
    """What a service says of itself to its operators. What needs the database is None while that is away."""

    service: str
    version: str
    at: datetime
    checks: dict[str, str]
    processes: list[Process]
    disks: list[Disk]
    relay: Relay | None = None
    readers: list[Reader] = []
    dead_letters: DeadLetters | None = None
    jobs: Jobs | None = None
    renewal: Renewal | None = None
    failed_pushes: list[FailedPushes] = []
    deliveries: list[Deliveries] = []
    datasets: list[Freshness] = []
    outcomes: list[Outcome] = []
