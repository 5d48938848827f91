"""Who waits for a topic is woken through Valkey: one connection a process, whatever the number of waiters.

A wake-up says only that there is something new; what it is, everybody reads by number. So nothing is lost
when the broker is: waiters then look by themselves, once a second.
"""

import asyncio
from collections import Counter
from weakref import WeakKeyDictionary

import redis.asyncio as redis_client
from redis.exceptions import RedisError

from services.kit import telemetry
from services.kit.waking import stopped

CHANNEL = "notify:"
LOOK_AFTER_S = 10.0
"""A wake-up may be lost with a process that dies between its commit and its call."""
LOOK_AFTER_UNHEARD_S = 1.0
AGAIN_S = 1.0


async def announce(broker: "redis_client.Redis", topic: str, seq: int) -> None:
    """Tells every process that the topic has something new. Raises RedisError when nobody can be told."""
    await broker.publish(CHANNEL + topic, seq)


class Wakeups:
    """What one process hears. Listens for as long as somebody waits."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._calls: Counter[str] = Counter()
        self._changed = asyncio.Condition()
        self._listening = False
        self._task: asyncio.Task[None] | None = None
        self._waiters = 0

    async def __aenter__(self) -> "Wakeups":
        self._waiters += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="notify:wakeups")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._waiters -= 1
        if self._waiters == 0 and self._task is not None:
            task, self._task = self._task, None
            # The loop itself holds tasks weakly, and whoever leaves may be gone before the connection is.
            _ending.add(task)
            task.add_done_callback(_ending.discard)
            await stopped(task)

    def heard(self, topic: str) -> int:
        """How often the topic has called so far; to be read before looking, and given to `wait`."""
        return self._calls.setdefault(topic, 0)

    async def wait(self, topic: str, heard: int, *, at_most_s: float = LOOK_AFTER_S) -> None:
        """Returns when the topic has called since `heard`, or when it is time to look anyway."""
        limit = min(at_most_s, LOOK_AFTER_S if self._listening else LOOK_AFTER_UNHEARD_S)
        try:
            async with asyncio.timeout(max(limit, 0.0)), self._changed:
                await self._changed.wait_for(lambda: self._calls[topic] != heard)
        except TimeoutError:
            return

    async def _listen(self) -> None:
        while True:
            broker = redis_client.Redis.from_url(self._url, health_check_interval=5)
            try:
                async with broker.pubsub() as channel:
                    await channel.psubscribe(CHANNEL + "*")
                    async for said in channel.listen():
                        await self._hear(said)
            except (RedisError, OSError) as error:
                telemetry.logger("notify").warning(
                    "the broker does not call, looking each second", extra={"error": repr(error)}
                )
            finally:
                self._listening = False
                await broker.aclose()
            await asyncio.sleep(AGAIN_S)

    async def _hear(self, said: dict[str, object]) -> None:
        if said["type"] == "psubscribe":
            # What was called before we listened has to be looked for: wake everybody once.
            self._listening = True
            for topic in list(self._calls):
                self._calls[topic] += 1
        elif said["type"] == "pmessage":
            channel = said["channel"]
            assert isinstance(channel, bytes)
            self._calls[channel.decode().removeprefix(CHANNEL)] += 1
        async with self._changed:
            self._changed.notify_all()


_ending: set[asyncio.Task[None]] = set()
_of_loop: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Wakeups]]" = WeakKeyDictionary()


def wakeups(redis_url: str) -> Wakeups:
    """The process's one listener at a broker: `async with wakeups(url) as heard`."""
    loop = asyncio.get_running_loop()
    return _of_loop.setdefault(loop, {}).setdefault(redis_url, Wakeups(redis_url))
