"""Who waits for a topic, or for their part of one, is woken through Valkey: one connection a process,
whatever the number of waiters.

A wake-up says only that there is something new; what it is, everybody reads by number. So nothing is lost
when the broker is: waiters then look by themselves, once a second.
"""

import asyncio
from collections.abc import Iterable
from weakref import WeakKeyDictionary, WeakValueDictionary

import redis.asyncio as redis_client
from redis.exceptions import RedisError

from services.kit import telemetry
from services.kit.waking import stopped, wait

CHANNEL = "notify:"
LOOK_AFTER_S = 10.0
"""A wake-up may be lost with a process that dies between its commit and its call."""
LOOK_AFTER_UNHEARD_S = 1.0
AGAIN_S = 1.0


async def announce(broker: "redis_client.Redis", channels: Iterable[str], seq: int) -> None:
    """Tells every process that these have something new. Raises RedisError when nobody can be told."""
    pipeline = broker.pipeline(transaction=False)
    for channel in channels:
        pipeline.publish(CHANNEL + channel, seq)
    await pipeline.execute()


class Wakeups:
    """What one process hears. Listens for as long as somebody waits."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        # Kept by those who wait: what nobody follows is forgotten.
        self._next: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
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

    def next_call(self, channel: str) -> asyncio.Event:
        """The channel's next call; to be taken before looking, and given to `wait`."""
        return self._next.setdefault(channel, asyncio.Event())

    async def wait(self, call: asyncio.Event, *, at_most_s: float = LOOK_AFTER_S) -> None:
        """Returns when the call has come, or when it is time to look anyway."""
        limit = min(at_most_s, LOOK_AFTER_S if self._listening else LOOK_AFTER_UNHEARD_S)
        await wait(call, max(limit, 0.0))

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
            for channel in list(self._next):
                self._call(channel)
        elif said["type"] == "pmessage":
            name = said["channel"]
            assert isinstance(name, bytes)
            self._call(name.decode().removeprefix(CHANNEL))

    def _call(self, channel: str) -> None:
        call = self._next.pop(channel, None)
        if call is not None:
            call.set()


_ending: set[asyncio.Task[None]] = set()
_of_loop: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Wakeups]]" = WeakKeyDictionary()


def wakeups(redis_url: str) -> Wakeups:
    """The process's one listener at a broker: `async with wakeups(url) as heard`."""
    loop = asyncio.get_running_loop()
    return _of_loop.setdefault(loop, {}).setdefault(redis_url, Wakeups(redis_url))
