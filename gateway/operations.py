"""The suite to its operators: what each service says of itself, gathered at the same time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import strawberry
from strawberry.dataloader import DataLoader
from strawberry.types import Info

from gateway.house import SERVICES
from gateway.sessions import Session
from services.kit.calls import DomainError
from services.kit.graphql import coded
from services.kit.operations import shapes
from services.kit.operations.client import OperationsClient, operations_of

SCOPE = "operations:read"
GATEWAY = "gateway"


@strawberry.type(description="What a service stands on, and whether that answers. 依赖组件。")
class Check:
    name: str
    ok: bool
    detail: str


@strawberry.type(description="A part of a service's work and its last sign of life. 进程与心跳。")
class Process:
    role: str
    process: str | None
    alive: int
    started_at: datetime | None
    silent_s: float | None


@strawberry.type(description="Events not yet on the stream. 待发事件。")
class Relay:
    waiting: int
    oldest_s: float


@strawberry.type(description="How far another service is behind in taking in the events. 事件积压。")
class Reader:
    reader: str
    behind: int
    heard_at: datetime | None


@strawberry.type(description="Events that could not be taken in. 滞留事件数。")
class DeadLetterCount:
    waiting: int
    parked: int
    oldest_at: datetime | None


@strawberry.type(description="Background jobs by state. 后台任务。")
class JobCount:
    queued: int
    running: int
    done: int
    failed: int
    cancelled: int
    overdue_s: float


@strawberry.type(description="A reason for which pushes came to nothing. 推送失败原因。")
class PushFailure:
    door: str
    status: int
    reason: str
    count: int


@strawberry.type(description="A sender's failed pushes of the last 24 hours. 某单位 24 小时内失败的推送。")
class FailedPushes:
    organisation: str
    client: str
    refused: int
    failed: int
    last_at: datetime
    hours: list[int]
    reasons: list[PushFailure]

    @classmethod
    def of(cls, shape: shapes.FailedPushes) -> "FailedPushes":
        reasons = [PushFailure(**one.model_dump()) for one in shape.reasons]
        return cls(**shape.model_dump(exclude={"reasons"}), reasons=reasons)


@strawberry.type(description="What was told over a channel in the last 24 hours. 各渠道送达情况。")
class Deliveries:
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


@strawberry.type(description="Whether a dataset is as new as promised. 数据集更新情况。")
class Freshness:
    dataset: str
    title_zh: str
    title_en: str
    update_cycle: str
    fresh_at: datetime | None
    late: bool | None


@strawberry.type(description="How the newest backup, drill, restore or promotion ended. 备份与演练结果。")
class Outcome:
    kind: str
    at: datetime
    ok: bool
    seconds: float | None
    rpo_s: float | None
    rto_s: float | None
    bytes: float | None
    detail: str


@strawberry.type(description="Room left where a service keeps files. 磁盘余量。")
class Disk:
    name: str
    free_bytes: float
    total_bytes: float
    reserve_bytes: float


@strawberry.type(description="A service to its operators; what it cannot tell now is null. 服务运行状况。")
class ServiceOperations:
    service: str
    answers: bool
    detail: str | None = None
    version: str | None = None
    checks: list[Check] = strawberry.field(default_factory=list)
    processes: list[Process] = strawberry.field(default_factory=list)
    disks: list[Disk] = strawberry.field(default_factory=list)
    relay: Relay | None = None
    readers: list[Reader] = strawberry.field(default_factory=list)
    dead_letters: DeadLetterCount | None = None
    jobs: JobCount | None = None
    failed_pushes: list[FailedPushes] = strawberry.field(default_factory=list)
    deliveries: list[Deliveries] = strawberry.field(default_factory=list)
    datasets: list[Freshness] = strawberry.field(default_factory=list)
    outcomes: list[Outcome] = strawberry.field(default_factory=list)

    @classmethod
    def of(cls, shape: shapes.Operations) -> "ServiceOperations":
        counts = shape.dead_letters
        return cls(
            service=shape.service,
            answers=True,
            version=shape.version,
            checks=[Check(name=name, ok=said == "ok", detail=said) for name, said in shape.checks.items()],
            processes=[Process(**one.model_dump()) for one in shape.processes],
            disks=[Disk(**one.model_dump()) for one in shape.disks],
            relay=Relay(**shape.relay.model_dump()) if shape.relay else None,
            readers=[Reader(**one.model_dump()) for one in shape.readers],
            dead_letters=DeadLetterCount(**counts.model_dump()) if counts else None,
            jobs=JobCount(**shape.jobs.model_dump()) if shape.jobs else None,
            failed_pushes=[FailedPushes.of(one) for one in shape.failed_pushes],
            deliveries=[Deliveries(**one.model_dump()) for one in shape.deliveries],
            datasets=[Freshness(**one.model_dump()) for one in shape.datasets],
            outcomes=[Outcome(**one.model_dump()) for one in shape.outcomes],
        )


@strawberry.type
class Query:
    @strawberry.field(
        description="What each service says of itself, for operators; one that is down says so, and the "
        "others still answer. 各服务运行状况（运维人员）。"
    )
    async def operations(self, info: Info[Any, Any]) -> list[ServiceOperations] | None:
        session = info.context
        assert isinstance(session, Session)
        if not session.principal.may(SCOPE):
            code = "UNAUTHENTICATED" if session.principal.kind == "anonymous" else "FORBIDDEN"
            raise coded(code, "this is for operators / 仅限运维人员", traceId=session.trace_id)
        # Under however many aliases it is asked for, each service is asked once.
        loader = session.loaders.get((GATEWAY, "operations"))
        if loader is None:
            loader = session.loaders[GATEWAY, "operations"] = DataLoader(load_fn=_Asked(session))
        return list(await loader.load_many((*SERVICES, GATEWAY)))


@dataclass(frozen=True, slots=True)
class _Asked:
    session: Session

    async def __call__(self, names: Sequence[str]) -> list[ServiceOperations]:
        return list(await asyncio.gather(*map(self._one, names)))

    async def _one(self, name: str) -> ServiceOperations:
        try:
            client = await self._client(name)
            return ServiceOperations.of(await client.read())
        except DomainError as error:
            return ServiceOperations(service=name, answers=False, detail=error.code)

    async def _client(self, name: str) -> OperationsClient:
        if name == GATEWAY:  # the session's token is for us already
            return self.session.calls.client(operations_of(name), token=self.session.principal.token)
        return await self.session.client(operations_of(name))
