"""The parser, run where it stands in nobody's way: a small push in a thread, a big one in its own process."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from education.imports import Dialect, Step
from education.oneroster.files import KEPT
from education.oneroster.parsing import FAULT_COLUMNS, Frame, frames
from services.kit.problems import unavailable

# Compressed; some 10,000 rows, 80 ms of computation: about what a process takes to start.
IN_THREAD_BYTES = 96 * 1024
ROOT = Path(__file__).resolve().parents[2]
_PIPE_LIMIT_BYTES = 1024 * 1024


async def read(body: bytes, key: bytes, now: datetime) -> AsyncGenerator[Step, None]:
    """The steps of a push, with a fault for everything that is wrong in it."""
    reading = _in_thread(body, key, now) if len(body) <= IN_THREAD_BYTES else _in_process(body, key, now)
    try:
        async for step in reading:
            yield step
    finally:
        await reading.aclose()


async def _in_thread(body: bytes, key: bytes, now: datetime) -> AsyncGenerator[Frame, None]:
    found: Iterator[Frame] = frames(body, key=key, now=now)
    while (frame := await asyncio.to_thread(next, found, None)) is not None:
        yield frame


async def _in_process(body: bytes, key: bytes, now: datetime) -> AsyncGenerator[Frame, None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "education.oneroster.child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_PIPE_LIMIT_BYTES,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ.get("PATH", "")},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    feeding = asyncio.create_task(_feed(process.stdin, orjson.dumps({"key": key.hex(), "now": now}), body))
    try:
        ended = False
        while not ended:
            frame = await _frame(process.stdout)
            ended = frame.kind == "end"
            yield frame
        await process.wait()
    finally:
        feeding.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _feed(stdin: asyncio.StreamWriter, order: bytes, body: bytes) -> None:
    try:
        stdin.write(order + b"\n" + body)
        await stdin.drain()
        stdin.close()
    except ConnectionError:
        # The parser is gone; that it gave no "end" is what the reader reports.
        return


async def _frame(stdout: asyncio.StreamReader) -> Frame:
    try:
        head: dict[str, Any] = orjson.loads(await stdout.readuntil(b"\n"))
        payload = await stdout.readexactly(head["bytes"])
    except asyncio.IncompleteReadError as error:
        raise unavailable(
            "the roster could not be read just now; nothing was applied, send it again"
        ) from error
    return Frame(head["kind"], head["head"], payload)


ONEROSTER_CSV = Dialect(
    read=read,
    files={spec.table: spec.file for spec in KEPT},
    headers={spec.table: {column.to: column.name for column in spec.columns if column.to} for spec in KEPT},
    fault_columns=FAULT_COLUMNS,
)
