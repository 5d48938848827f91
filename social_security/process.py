"""Runs one of the service's own programs in a process of its own, which gives its memory back."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[1]
LAST_WORDS = 2_000


class ProgramFailed(Exception):
    """A program ended without an answer; `words` is the end of what it said about it."""

    def __init__(self, module: str, status: int | None, words: str) -> None:
        super().__init__(f"{module} ended with {status}: {words}")
        self.module = module
        self.status = status
        self.words = words


async def told(module: str, what: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
    """Starts `python -m module`, gives it one JSON object, and returns the one it answers with.

    Raises:
        ProgramFailed: it crashed, was killed, or was not done by the deadline.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=ROOT,
        # What reads a stranger's file, or everybody's data, needs none of the suite's secrets.
        env={name: value for name, value in os.environ.items() if not name.startswith("HUIMIN_")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(deadline_s):
            answer, words = await process.communicate(orjson.dumps(what))
    except TimeoutError as error:
        raise ProgramFailed(module, None, f"not done within {deadline_s:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ProgramFailed(module, process.returncode, words.decode(errors="replace")[-LAST_WORDS:])
    found: dict[str, Any] = orjson.loads(answer)
    return found
