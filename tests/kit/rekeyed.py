"""An identity of the tests' own that prepares version 2 of the sector `office`; a worker that may be killed.

`python -m tests.kit.rekeyed JOB STEP` runs the job up to a step, says so and waits to be killed.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.kit import renewal
from services.kit.app import Kit, open_kit
from services.kit.calls import DomainError
from services.kit.jobs import running

OLD, PEOPLE = 1, 40
IDS = tuple(f"h1_{n:026d}" for n in range(PEOPLE))


def new_of(old: str) -> str:
    return f"h1_N{old[4:]}"


class Answer:
    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body

    def json(self) -> dict[str, Any]:
        return self._body


class Rekeyed:
    """What identity answers to the service."""

    def __init__(self, *, version: int = 2, understood_until: datetime | None = None) -> None:
        self.version = version
        self.until = understood_until or datetime.now(UTC) + timedelta(days=30)
        self.adopted: list[int] = []
        self.away = False

    async def request(self, service: str, method: str, path: str, **asked: Any) -> Answer:
        assert service == "identity"
        if self.away:
            raise DomainError("identity", "SERVICE_UNAVAILABLE", "identity does not answer", status=503)
        if method == "GET":
            return Answer(self._page(asked["params"]))
        assert path == "/identity/sector-ids/adoption"
        self.adopted.append(asked["json"]["version"])
        before = {"version": self.version - 1, "understood_until": self.until.isoformat()}
        return Answer({"keys": [before, {"version": self.version, "understood_until": None}]})

    def _page(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = [id for id in IDS if id > asked["after"]]
        shown = rows[: asked["limit"]]
        return {
            "version": self.version,
            "items": [{"old": id, "new": new_of(id)} for id in shown],
            "next": shown[-1] if len(rows) > len(shown) else None,
            "total": None if asked["after"] else len(IDS),
        }

    def answer(self, kit: Kit) -> None:
        kit.calls.request = self.request  # type: ignore[assignment,method-assign]


async def _stopping(job: UUID, step: str) -> None:
    """Runs until `step` is about to be done, or was done where it begins with `after`."""

    async def with_identity(service: str) -> Any:
        kit, stack = await open_kit(service)
        Rekeyed().answer(kit)
        return kit, stack

    vars(running)["open_kit"] = with_identity
    renewal.PAGE = 7
    after = step.startswith("after")
    name = step.removeprefix("after")
    done = getattr(renewal, name)

    async def stop(*args: Any) -> Any:
        found = await done(*args) if after else None
        print("here", flush=True)
        await asyncio.sleep(60)
        return found

    setattr(renewal, name, stop)
    await running.run("office", job)


if __name__ == "__main__":
    asyncio.run(_stopping(UUID(sys.argv[1]), sys.argv[2]))
