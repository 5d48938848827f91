"""Room on the disk: pushes are refused while there is still enough to finish what was accepted."""

import os
from typing import TYPE_CHECKING

from services.kit.problems import Problem

if TYPE_CHECKING:
    from services.kit.settings import Settings

RETRY_AFTER_S = 60
WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def storage_full() -> Problem:
    """507 (RFC 4918 section 11.5)."""
    return Problem(
        507,
        "storage_full",
        "there is no room left to keep what is pushed; nothing of it was kept. Send it again later, once "
        "the operators have made room / 存储空间不足, 未保存任何内容, 请在运维人员扩容后重新发送",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def free_mb(settings: "Settings") -> int | None:
    """Room left beside the database, in MB; None when nobody said where that is, or it is not to be seen."""
    if settings.disk_path is None:
        return None
    try:
        found = os.statvfs(settings.disk_path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize // 1_000_000


def check_room(settings: "Settings", method: str, path: str) -> None:
    """Refuses what an organisation pushes while less than the reserve is left; reading goes on.

    Raises:
        Problem: 507.
    """
    if method not in WRITING or path.endswith("/_search"):  # a search in a body, as FHIR has it, is a read
        return
    free = free_mb(settings)
    if free is not None and free < settings.disk_reserve_mb:
        raise storage_full()
