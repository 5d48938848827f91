"""`./run load KIND PATH…`: pushes files through the public doors, as a client like any other."""

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.stack.clients import ClientFile, add_client, running_address
from services.stack.home import Home
from services.stack.pieces import DOORS, Door, Piece, words_of_answer
from services.stack.terminal import Refusal, say, warn

PUSH_SECONDS = 180.0
TRIES = 8
TOKEN_SECONDS = 240.0
"""A token is asked for anew after this long; it lives a little longer."""
ORGANISATION = "huimin-load"


@dataclass(frozen=True)
class Load:
    """What to load.

    Attributes:
        of: for social-security, what the files hold when their names do not say it.
        query: for terminology, what is said of the list in the URL.
    """

    kind: str
    paths: list[Path]
    of: str = ""
    query: dict[str, str] = field(default_factory=dict)
    client_file: Path | None = None
    parallel: int = 4


@dataclass
class Outcome:
    """What became of a load."""

    taken: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


class Pusher:
    """Sends pieces to one door as one client, and keeps trying while the suite restarts."""

    def __init__(self, http: httpx.AsyncClient, door: Door, client: ClientFile, address: str) -> None:
        self._http = http
        self._door = door
        self._client = client
        self._address = address
        self._token: tuple[str, float] | None = None
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        async with self._lock:
            if self._token is None or time.monotonic() > self._token[1]:
                fresh = await self._client.token(address=self._address)
                self._token = fresh, time.monotonic() + TOKEN_SECONDS
            return self._token[0]

    async def push(self, piece: Piece, outcome: Outcome) -> None:
        """One piece, under one Idempotency-Key however often it is sent."""
        for attempt in range(1, TRIES + 1):
            try:
                answer = await self._send(piece)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__} {error}".strip()
            else:
                if answer.is_success:
                    outcome.taken += 1
                    outcome.counts.update(self._door.counts(answer.json()))
                    return
                problem = words_of_answer(answer.content, answer.status_code)
                if answer.status_code < 500 and answer.status_code not in (409, 429):
                    break
            if attempt < TRIES:
                await asyncio.sleep(min(0.5 * 2**attempt, 10.0))
        outcome.refused.append(f"{piece.label}: {problem}")

    async def _send(self, piece: Piece) -> httpx.Response:
        headers = {
            "authorization": f"Bearer {await self.token()}",
            "content-type": piece.type,
            "idempotency-key": piece.key,
        }
        return await self._http.post(
            self._door.path, content=piece.content, headers=headers, params=piece.query
        )


async def run_load(home: Home, load: Load) -> int:
    """Prints progress and a summary; 0 only if every piece was taken."""
    door = DOORS.get(load.kind)
    if door is None:
        raise Refusal(f"未知类型 {load.kind} · the kinds are: {', '.join(DOORS)}", code=2)
    address = running_address(home)
    if load.client_file is not None:
        client = ClientFile.read(load.client_file)
    else:
        # Its issuer is wherever the suite answers now; the port may be another than at registration.
        own = ClientFile.read(await _own_client(home, door.client_kind))
        client = replace(own, issuer=os.environ.get("HUIMIN_ISSUER", address))
    began = time.monotonic()
    outcome = Outcome()
    if door.in_order:
        load = replace(load, parallel=1)
    limits = httpx.Limits(max_connections=load.parallel)
    async with httpx.AsyncClient(base_url=address, timeout=PUSH_SECONDS, limits=limits) as http:
        try:
            await _push_all(Pusher(http, door, client, address), load, door, outcome)
        except* Refusal as refusals:
            raise refusals.exceptions[0] from None
    _report(load, outcome, time.monotonic() - began)
    return 1 if outcome.refused or not outcome.taken else 0


async def _own_client(home: Home, kind: str) -> Path:
    """The client that `load` registered for itself the first time."""
    path = home.clients / f"load-{kind}.json"
    if path.exists():
        return path
    return await add_client(home, kind=kind, name=f"load-{kind}", organisation=ORGANISATION)


async def _push_all(pusher: Pusher, load: Load, door: Door, outcome: Outcome) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{load.kind} → {door.path}", total=None)
        waiting: asyncio.Queue[Piece | None] = asyncio.Queue(maxsize=load.parallel)

        async def worker() -> None:
            while (piece := await waiting.get()) is not None:
                await pusher.push(piece, outcome)
                progress.advance(task)

        async with asyncio.TaskGroup() as group:
            for _ in range(load.parallel):
                group.create_task(worker())
            async for piece in _read_aside(load, door):
                await waiting.put(piece)
            for _ in range(load.parallel):
                await waiting.put(None)


async def _read_aside(load: Load, door: Door) -> AsyncIterator[Piece]:
    """Reading and unpacking happen in a thread, a piece ahead of the pushes."""

    def pieces() -> Generator[Piece, None, None]:
        for path in load.paths:
            for piece in door.pieces(path, load.of):
                yield replace(piece, query={**piece.query, **load.query})

    iterator = pieces()
    with contextlib.closing(iterator):
        while (piece := await asyncio.to_thread(next, iterator, None)) is not None:
            yield piece


def _report(load: Load, outcome: Outcome, seconds: float) -> None:
    for line in outcome.refused[:20]:
        warn(line)
    if len(outcome.refused) > 20:
        warn(f"… 另有 {len(outcome.refused) - 20} 件 · and more")
    counts = ", ".join(f"{name} {number:,}" for name, number in sorted(outcome.counts.items()))
    rate = sum(outcome.counts.values()) / seconds if seconds else 0.0
    say(
        f"{load.kind}: 接收 {outcome.taken} 件, 拒绝 {len(outcome.refused)} 件 · taken {outcome.taken}, "
        f"refused {len(outcome.refused)}; {counts or 'nothing'}; {seconds:.1f} s, {rate:,.0f}/s"
    )
