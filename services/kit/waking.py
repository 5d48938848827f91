"""Waking a background task of this process when there is something to do, and stopping it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_wakers: dict[str, asyncio.Event] = {}


def wake(name: str) -> None:
    """Wakes the task of that name, if it runs in this process."""
    waker = _wakers.get(name)
    if waker is not None:
        waker.set()


def wakes_here(name: str) -> bool:
    """Whether the task of that name runs in this process."""
    return name in _wakers


@contextmanager
def woken(name: str) -> Iterator[asyncio.Event]:
    """What the task waits on between its rounds."""
    waker = _wakers[name] = asyncio.Event()
    try:
        yield waker
    finally:
        if _wakers.get(name) is waker:
            del _wakers[name]


async def wait(waker: asyncio.Event, seconds: float) -> None:
    """Until it is set, at most so long.

    Not asyncio.wait_for: before Python 3.12 that loses a cancellation which arrives with the event.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await waker.wait()


async def stopped(task: "asyncio.Task[Any]") -> None:
    """Cancels a background task and returns once it has ended.

    Once is not always enough: before Python 3.12 `wait_for`, which drivers use inside, loses a cancellation
    that arrives together with its result.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)
