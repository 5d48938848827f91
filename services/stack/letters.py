"""Dead letters of every service: which events could not be taken in and why, and having one tried again."""

from typing import Any

from services.kit.app import prefix_of
from services.kit.calls import Calls, DomainError
from services.stack.clients import calls_as_stack, running_address, words_of
from services.stack.home import Home
from services.stack.house import STORING, named
from services.stack.terminal import Refusal, say


async def run_letters(home: Home, replay: str) -> int:
    """Lists what waits, or replays `SERVICE/ID`; 0 when nothing waits (any more)."""
    async with calls_as_stack(home, running_address(home)) as calls:
        if replay:
            await _replay(calls, replay)
            return 0
        waiting = [letter for service in STORING for letter in await _waiting(calls, service.name)]
    for letter in waiting:
        again = f"next {letter['next_at']}" if letter["next_at"] else "等待人工 waits for a person"
        say(f"  {letter['service']}/{letter['id']}  {letter['type']}  {letter['aggregate']}  {again}")
        say(f"      {letter['reason']}")
    if not waiting:
        say("  ✓ 没有滞留事件 · nothing waits")
    return 1 if waiting else 0


async def _waiting(calls: Calls, service: str) -> list[dict[str, Any]]:
    path, found, after = f"{prefix_of(service)}/dead-letters", [], 0
    while after is not None:
        answer = (await _asked(calls, service, "GET", path, params={"after": after})).json()
        found += [{"service": service, **letter} for letter in answer["items"]]
        after = answer["next"]
    return found


async def _replay(calls: Calls, replay: str) -> None:
    name, _, number = replay.rpartition("/")
    try:
        service = named(name).name
    except KeyError as error:
        raise Refusal(f"--replay 形如 notify/12 · is SERVICE/ID as listed, not {replay}") from error
    await _asked(calls, service, "POST", f"{prefix_of(service)}/dead-letters/{number}/replay")
    say(f"  ✓ {replay}: 即将重试 · is tried again")


async def _asked(calls: Calls, service: str, method: str, path: str, **more: Any) -> Any:
    try:
        return await calls.request(service, method, path, **more)
    except DomainError as error:
        raise Refusal(words_of(error)) from error
