"""A full disk: a clear refusal, nothing half-written, and recovery when there is room.

On a small file system made for the test, which needs root; under the database, the broker and the logs.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.kit.problems import MEDIA_TYPE
from tests.chaos.field import Field, battlefield_with_database
from tests.chaos.parts import SOURCE, issuer
from tests.chaos.proof import check, settled
from tests.kit.scratch import settings_for

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is made by root alone"),
]
SIZE_MB = 384
RESERVE_MB = 96
PAGES = "/chaos-source/things"


@pytest.fixture
def small_disk(public_folder: Path) -> Iterator[Path]:
    folder = public_folder / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=755", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        pytest.skip(f"no file system may be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
async def field(small_disk: Path, request: Any) -> AsyncIterator[Field]:
    reserve = {"HUIMIN_DISK_RESERVE_MB": str(request.param)}
    async with battlefield_with_database(small_disk, **reserve) as found:
        yield found


@contextmanager
def filled(folder: Path, *, left_mb: int) -> Iterator[Path]:
    """Somebody else's file takes all but so much."""
    ballast = folder / "ballast"
    found = os.statvfs(folder)
    take = found.f_bavail * found.f_frsize - left_mb * 1_000_000
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, take)
    try:
        yield ballast
    finally:
        ballast.unlink(missing_ok=True)


def as_(field: Field, kind: Any) -> dict[str, str]:
    token = issuer().mint(settings_for(field.admin_url, field.broker_url), SOURCE, kind=kind)
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("field", [RESERVE_MB], indirect=True)
async def test_pushes_are_refused_before_there_is_no_room_and_all_else_goes_on(
    field: Field, small_disk: Path
) -> None:
    hospital, staff = as_(field, "organisation"), as_(field, "staff")
    source = f"http://127.0.0.1:{field.ports['source a']}"
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await field.post(client, ["thing 1"], **hospital)).status_code == 200
        with filled(small_disk, left_mb=RESERVE_MB // 2):
            refused = await field.post(client, ["thing 1"], **hospital)
            assert (refused.status_code, refused.headers["content-type"]) == (507, MEDIA_TYPE)
            assert refused.json()["code"] == "storage_full"
            assert "存储空间不足" in refused.json()["detail"]
            assert int(refused.headers["retry-after"]) > 0
            # Who reads, and who acts on what was accepted, is not kept from it.
            assert (await client.get(source + PAGES, headers=hospital)).json() == {"thing 1": 1}
            assert (await field.post(client, ["thing 1"], **staff)).status_code == 200
        assert (await field.post(client, ["thing 1"], **hospital)).status_code == 200
        assert (await client.get(source + PAGES, headers=hospital)).json() == {"thing 1": 3}
    await settled(field)
    await check(field)


@pytest.mark.parametrize("field", [0], indirect=True)
async def test_without_a_reserve_a_full_disk_halves_nothing(field: Field, small_disk: Path) -> None:
    answers: list[httpx.Response] = []
    async with httpx.AsyncClient(timeout=60) as client:
        assert await field.push(client, ["thing 1"])
        with filled(small_disk, left_mb=2):
            for turn in range(60):
                try:
                    things = [f"{n} {'x' * 2000}" for n in range(turn * 50, turn * 50 + 50)] + ["thing 1"]
                    answers.append(await field.post(client, things))
                except httpx.HTTPError:
                    continue
                if answers[-1].status_code == 200:
                    field.acknowledged["thing 1"] += 1
                elif sum(answer.status_code != 200 for answer in answers) > 5:
                    break
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused, "the disk never was full: the test proved too little"
        for answer in refused:
            assert answer.status_code in (503, 507), answer.text
            assert answer.json()["code"] in ("unavailable", "storage_full")
            assert int(answer.headers["retry-after"]) > 0
        async with asyncio.timeout(60):
            while not await field.push(client, ["thing 1"]):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
    await settled(field)
    await check(field)
