"""Lines out of a body that arrives in chunks, for as long as its sender goes on."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from services.kit.problems import Problem

PAUSE_S = 0.25
"""A sender that pauses this long gets what it has sent so far looked at."""
IDLE_S = 60.0


async def lines(
    chunks: AsyncIterator[bytes], *, most_bytes: int
) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
    """Numbered lines as they become complete; an empty list where the sender pauses.

    A line beyond `most_bytes` is cut at one byte more, so that memory stays bounded and its reader can tell.
    """
    number, rest = 0, b""
    async for chunk in _or_pauses(chunks):
        if chunk is None:
            yield []
            continue
        *complete, rest = (rest + chunk).split(b"\n")
        if complete:
            yield [(number + i, line) for i, line in enumerate(complete, 1)]
            number += len(complete)
        rest = rest[: most_bytes + 1]
    if rest:
        yield [(number + 1, rest)]


async def _or_pauses(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
    idle = 0.0
    following: asyncio.Task[bytes] | None = None
    try:
        while True:
            following = following or asyncio.create_task(_next(chunks))
            done, _ = await asyncio.wait({following}, timeout=PAUSE_S)
            if not done:
                idle += PAUSE_S
                if idle >= IDLE_S:
                    raise Problem(408, "stream_idle", f"nothing came for {IDLE_S:g} s")
                yield None
                continue
            try:
                chunk = following.result()
            except StopAsyncIteration:
                return
            following, idle = None, 0.0
            yield chunk
    finally:
        if following is not None:
            following.cancel()


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    return await anext(chunks)
