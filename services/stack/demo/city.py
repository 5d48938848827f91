"""The simulated city, run as what it is: somebody outside, in a process of its own."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.stack.home import ROOT, Home
from services.stack.processes import dies_with_parent
from services.stack.program import python_environment
from services.stack.terminal import Refusal

LINE_BYTES = 16 * 2**20
FIRST = ("people", "guardianships", "sites")
"""Who there is comes before what happened to them; accounts need it."""
REST = ("households", "births", "deaths", "moves", "education", "social_security", "fhir", "walk_ins")


@dataclass(frozen=True)
class City:
    """A city of a size and a seed, at the doors of one suite."""

    home: Home
    address: str
    people: int
    seed: int

    @property
    def truth_file(self) -> Path:
        return self.home.path / "city-truth.json"

    async def roster(self) -> dict[str, Any]:
        """Which clients, organisations, places and accounts it needs at the suite."""
        async with self._running("roster", "--people", str(self.people)) as process:
            output, _ = await process.communicate()
        if process.returncode != 0:
            raise self._failed()
        found: dict[str, Any] = json.loads(output)
        return found

    def push(self, *kinds: str) -> AsyncIterator[dict[str, Any]]:
        """Its own reports of progress (`python -m city push`), the last one with the totals."""
        only = [part for kind in kinds for part in ("--only", kind)]
        truth = ["--truth", str(self.truth_file)] if "fhir" in kinds else []
        return self._reports("push", "--people", str(self.people), *only, *truth)

    def replay(self, speed: float) -> AsyncIterator[dict[str, Any]]:
        """A day of gate counts, so many times as fast as it went."""
        return self._reports("replay", "--speed", f"{speed:g}")

    async def _reports(self, *arguments: str) -> AsyncIterator[dict[str, Any]]:
        doors = ("--base-url", self.address, "--clients", str(self.home.clients), "--progress-json")
        done = False
        async with self._running(*arguments, *doors) as process:
            assert process.stdout is not None
            async for line in process.stdout:
                with suppress(ValueError):
                    report = json.loads(line)
                    done = done or report.get("event") == "done"
                    yield report
            await process.wait()
        if not done:
            raise self._failed()

    @asynccontextmanager
    async def _running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        with self.home.log("city").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "city", *arguments, "--seed", str(self.seed)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=log,
                limit=LINE_BYTES,
                cwd=ROOT,
                env=python_environment(),
                process_group=0,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _failed(self) -> Refusal:
        log = self.home.log("city")
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return Refusal(
            f"模拟城市未能完成 · the city did not finish: {lines[-1] if lines else 'no output'}; see {log}"
        )
