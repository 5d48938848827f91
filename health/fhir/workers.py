"""The processes that validate pushes, so that the event loop goes on answering meanwhile.

They start when there is work, as many as there is work for, and end when there has been none for a while:
an idle suite keeps none in memory. A worker lives on its standard input and so ends with this process,
however that ends.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from health.fhir import custom
from health.fhir.entries import Prepared, loaded
from health.fhir.outcome import Issue, Refusal, refused
from health.fhir.worker_frame import LENGTH_BYTES, framed
from services.kit import telemetry
from services.kit.problems import unavailable

IDLE_S = 60.0
MOST_WAITING = 64
"""Pushes that may wait for a place, each with its body in memory; the next is asked to come again."""
LEAST_S = 30.0
BYTES_A_S = 50_000
"""How long checking may take: a tenth of the speed at which large bundles are checked beside much else."""
LARGE_BYTES = 8 * 1024 * 1024
"""A worker that has held a larger push ends after it, and gives its memory back."""
_ROOT = Path(__file__).resolve().parents[2]


class WorkerDied(Exception):
    """A worker ended in the middle of a message (killed, or out of memory)."""


class Workers:
    """A pool of `health.fhir.worker` processes. What nobody foresaw in one push is that push's alone: Refusal
    500, and on record without its content.

    Args:
        most: processes at one time; by default one for each processor, up to four.
        idle_s: a worker without work ends after this long.
    """

    def __init__(self, *, most: int | None = None, idle_s: float = IDLE_S) -> None:
        self.most = most or min(4, os.cpu_count() or 1)
        self._places = asyncio.Semaphore(self.most)
        self._idle: list[_Worker] = []
        self._idle_s = idle_s
        self._closed = False
        self._waiting = 0

    async def bundle(
        self,
        raw: bytes,
        base: str,
        stored: Mapping[int, Mapping[str, Any]] | None = None,
        *,
        unchecked: bool = False,
    ) -> Prepared:
        """A batch or transaction Bundle, checked and cut; raises Refusal.

        Args:
            stored: what its patches change, by the entry's index: id, version, body.
            unchecked: references may lead nowhere.
        """
        known = {str(index): dict(one) for index, one in (stored or {}).items()}
        header = {"what": "bundle", "base": base, "stored": known, "unchecked": unchecked}
        return await self._prepared(header, raw)

    async def patch(self, raw: bytes, base: str, kind: str, stored: Mapping[str, Any]) -> Prepared:
        """A stored resource (id, version, body) as a patch leaves it, checked and cut; raises Refusal."""
        header = {"what": "patch", "base": base, "type": kind, "stored": dict(stored)}
        return await self._prepared(header, raw)

    async def resource(
        self, raw: bytes, base: str, kind: str, id: str | None, *, unchecked: bool = False
    ) -> Prepared:
        """One resource, checked and cut; raises Refusal.

        Args:
            id: of an update, empty for one by search; None for a create.
            unchecked: references may lead nowhere.
        """
        header = {"what": "resource", "base": base, "type": kind, "id": id, "unchecked": unchecked}
        return await self._prepared(header, raw)

    async def lines(self, asked: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        """What became of lines of an import: `taken` and `refused` of `health.fhir.bulk.lines.Checked`."""
        found: dict[str, Any] = (await self._ask({"what": "lines", **asked}, body))["lines"]
        for fault, number in Counter(found["faults"]).items():
            _on_record(f"lines could not be checked: {number}", fault)
        return found

    async def view(self, definition: Mapping[str, Any], lines: bytes) -> list[list[Any]]:
        """The rows a ViewDefinition gives of lines of NDJSON; raises Refusal."""
        found: list[list[Any]] = (await self._ask({"what": "view", "view": dict(definition)}, lines))["rows"]
        return found

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().end()

    async def _prepared(self, header: Mapping[str, Any], body: bytes) -> Prepared:
        return loaded((await self._ask(header, body))["prepared"])

    async def validate(self, body: bytes, kind: str | None) -> tuple[str, list[Issue]]:
        """The type of what was sent and everything wrong with it. Raises Refusal for what is no resource."""
        found = (await self._ask({"what": "validate", "type": kind}, body))["checked"]
        return found["type"], [Issue(**issue) for issue in found["issues"]]

    async def _ask(self, header: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        if self._waiting >= MOST_WAITING:
            raise unavailable("too many pushes are being validated; nothing was applied, try again shortly")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        seconds = LEAST_S + len(body) / BYTES_A_S
        try:
            async with asyncio.timeout(seconds):
                answer = await self._answer_of_two({**header, "parameters": custom.spoken()}, body)
        except TimeoutError as error:
            words = f"this was not checked within {seconds:.0f} s; nothing was applied, send less at once"
            raise refused(422, "too-costly", words) from error
        finally:
            self._places.release()
        if fault := answer.get("fault"):
            _on_record("a push could not be checked", fault)
            words = (
                "this could not be checked, by a fault of the server that is on record; nothing was applied"
            )
            raise refused(500, "exception", words)
        if said := answer.get("refused"):
            raise Refusal(said["status"], [Issue(**issue) for issue in said["issues"]])
        return answer

    async def _answer_of_two(self, header: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        """A worker may be killed for reasons of its own; a push that kills two is given back."""
        try:
            return await self._answer(header, body)
        except WorkerDied:
            pass
        try:
            return await self._answer(header, body)
        except WorkerDied as error:
            raise unavailable("this could not be validated now; nothing was applied") from error

    async def _answer(self, header: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        worker = self._idle.pop() if self._idle else await _Worker.start()
        try:
            answer = await worker.ask(header, body)
        except BaseException:
            # Cut off in the middle, its next answer would be for this question.
            worker.kill()
            raise
        if self._closed or len(body) > LARGE_BYTES:
            await worker.end()
        else:
            self._keep(worker)
        return answer

    def _keep(self, worker: "_Worker") -> None:
        self._idle.append(worker)
        worker.retire_in(self._idle_s, self._retire)

    def _retire(self, worker: "_Worker") -> None:
        if worker in self._idle:
            self._idle.remove(worker)
            worker.let_go()


def _on_record(words: str, fault: str) -> None:
    telemetry.logger("health").error(words, extra={"fault": fault})


class _Worker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._given = process.stdin
        self._answers = process.stdout
        self._retiring: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls) -> "_Worker":
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])}
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "health.fhir.worker",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment, cwd=_ROOT,
                start_new_session=True,
            )
        )  # fmt: skip

    async def ask(self, header: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        if self._retiring is not None:
            self._retiring.cancel()
        try:
            self._given.writelines(framed(orjson.dumps(header), body))
            await self._given.drain()
            length = await self._answers.readexactly(LENGTH_BYTES)
            answer: dict[str, Any] = orjson.loads(
                await self._answers.readexactly(int.from_bytes(length, "big"))
            )
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerDied("a validating process ended in the middle of its work") from error
        return answer

    def retire_in(self, seconds: float, retire: Any) -> None:
        self._retiring = asyncio.get_running_loop().call_later(seconds, retire, self)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    def let_go(self) -> None:
        """Closes its input, which ends it."""
        self._given.close()

    async def end(self) -> None:
        if self._retiring is not None:
            self._retiring.cancel()
        self.let_go()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
