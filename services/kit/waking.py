"""Waking a background task of this process as soon as there is something to do; it looks by itself as well."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

_wakers: dict[str, asyncio.Event] = {}


def wake(name: str) -> None:
    """Wakes the task of that name, if it runs in this process."""
    waker = _wakers.get(name)
    if waker is not None:
        waker.set()


@contextmanager
def woken(name: str) -> Iterator[asyncio.Event]:
    """What the task waits on between its rounds."""
    waker = _wakers[name] = asyncio.Event()
    try:
        yield waker
    finally:
        if _wakers.get(name) is waker:
            del _wakers[name]
