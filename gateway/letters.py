"""`deadLetters` and `replayDeadLetter`: events a service could not take in, for operators."""

from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry.types import Info

from gateway.house import SERVICES
from services.kit.events.client import LettersClient, letters_of
from services.kit.graphql import Page, client_of, coded, first_of, page

Service = Annotated[str, strawberry.argument(description="Whose, e.g. notify. 服务名。")]


@strawberry.type(description="An event that a service could not take in. 滞留事件。")
class DeadLetter:
    id: strawberry.ID
    service: str
    type: str
    source: str
    aggregate: str
    attempts: int
    reason: str = strawberry.field(description="What its effect failed of. 原因。")
    first_at: datetime
    next_at: datetime | None = strawberry.field(
        description="When it is tried again; null when it waits for a person. 下次重试时间；空为等待人工。"
    )


@strawberry.type
class Query:
    @strawberry.field(description="Events a service could not take in, the oldest first. 滞留事件。")
    async def dead_letters(
        self,
        info: Info[Any, Any],
        service: Service,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100. 条数。")] = 20,
        after: Annotated[
            str | None, strawberry.argument(description="endCursor of the page before. 上一页游标。")
        ] = None,
    ) -> Page[DeadLetter] | None:
        client = await _client(info, service)
        found = await client.letters(after=_number(after or "0"), limit=first_of(first))
        following = found["next"]
        return page(
            [_letter(service, item) for item in found["items"]], None if following is None else str(following)
        )


@strawberry.type
class Mutation:
    @strawberry.mutation(description="Has a dead letter tried again at once. 立即重试滞留事件。")
    async def replay_dead_letter(
        self, info: Info[Any, Any], service: Service, id: strawberry.ID
    ) -> bool | None:
        client = await _client(info, service)
        await client.replay(_number(id))
        return True


async def _client(info: Info[Any, Any], service: str) -> LettersClient:
    if service not in SERVICES:
        raise coded("BAD_USER_INPUT", f"no service is called that: one of {', '.join(SERVICES)} / 没有此服务")
    return await client_of(info, letters_of(service))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise coded("BAD_USER_INPUT", "that is no number this list gave out / 编号或游标无效")
    return int(text)


def _letter(service: str, item: dict[str, Any]) -> DeadLetter:
    return DeadLetter(
        id=strawberry.ID(str(item["id"])),
        service=service,
        first_at=datetime.fromisoformat(item["first_at"]),
        next_at=None if item["next_at"] is None else datetime.fromisoformat(item["next_at"]),
        **{name: item[name] for name in ("type", "source", "aggregate", "attempts", "reason")},
    )
