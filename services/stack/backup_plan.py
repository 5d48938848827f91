"""What the environment says about backups and the standby."""

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.stack.home import Home
from services.stack.terminal import Refusal


@dataclass(frozen=True)
class BackupPlan:
    """Settings of `up`, of its keeper and of the commands.

    Attributes:
        folder: where backups and the archived log go (HUIMIN_BACKUP); None when it is `off`.
        every_h: hours between base backups (HUIMIN_BACKUP_EVERY_H); 0 leaves them to `./run backup`.
        keep_days: how far back every moment stays reachable (HUIMIN_BACKUP_KEEP_DAYS).
        keep: base backups that stay however old they are (HUIMIN_BACKUP_KEEP).
        archive_timeout_s: after which the log is archived though its segment is not full: what may be lost
            with the machine at most (HUIMIN_ARCHIVE_TIMEOUT_S).
        standby: where a standby is kept (HUIMIN_STANDBY; `1` for a folder beside the database's own).
        standby_wait_s: how long commits wait for a standby that is away (HUIMIN_STANDBY_WAIT_S); None for
            ever.
    """

    folder: Path | None
    every_h: float = 24.0
    keep_days: float = 14.0
    keep: int = 2
    archive_timeout_s: int = 60
    standby: str = ""
    standby_wait_s: float | None = 30.0

    @classmethod
    def of(cls, home: Home, *, demo: bool = False) -> "BackupPlan":
        """What the environment says of a home.

        Args:
            demo: nobody wants its data back, unless HUIMIN_BACKUP says where to keep it.

        Raises:
            Refusal: a setting cannot be, or an outside database makes it meaningless.
        """
        environment = os.environ
        said = environment.get("HUIMIN_BACKUP", "")
        standby = environment.get("HUIMIN_STANDBY", "")
        standby = "" if standby in ("0", "off") else standby
        wait = environment.get("HUIMIN_STANDBY_WAIT_S", "30")
        if environment.get("HUIMIN_DATABASE_URL"):
            if said not in ("", "off") or standby:
                raise not_ours()
            return cls(None)
        folder: Path | None = home.path / "backup"
        if said == "off" or (demo and not said):
            folder = None
        elif said:
            folder = Path(said).expanduser().resolve()
        return cls(
            folder,
            every_h=_number(environment, "HUIMIN_BACKUP_EVERY_H", 24.0),
            keep_days=_number(environment, "HUIMIN_BACKUP_KEEP_DAYS", 14.0),
            keep=int(_number(environment, "HUIMIN_BACKUP_KEEP", 2, least=1)),
            archive_timeout_s=int(_number(environment, "HUIMIN_ARCHIVE_TIMEOUT_S", 60, least=1)),
            standby=standby,
            standby_wait_s=None if wait == "never" else _number(environment, "HUIMIN_STANDBY_WAIT_S", 30.0),
        )

    def needed_folder(self) -> Path:
        """Raises Refusal where backups are off."""
        if self.folder is None:
            raise Refusal(
                "未设置备份位置 · no place for backups: set HUIMIN_BACKUP to a folder, best on another disk"
            )
        return self.folder


def _number(environment: Mapping[str, str], name: str, default: float, *, least: float = 0.0) -> float:
    text = environment.get(name, "")
    try:
        found = float(text) if text else default
    except ValueError:
        found = float("nan")
    if not least <= found < 1e9:
        raise Refusal(f"{name}={text} 无效 · is not a number from {least:g} on")
    return found


def not_ours() -> Refusal:
    return Refusal(
        "数据库由 HUIMIN_DATABASE_URL 指定, 备份、恢复与备库由其管理者负责 · the database is that of "
        "HUIMIN_DATABASE_URL: its backups, restores and standbys are made by its own administrator's means "
        "(docs/operations.md); here they are for the embedded database alone"
    )


def need_own_database() -> None:
    """Raises Refusal where the database is somebody else's."""
    if os.environ.get("HUIMIN_DATABASE_URL"):
        raise not_ours()


def sealing_secret(secret: str) -> bytes:
    """What backups are sealed with: derived from the suite's secret, which is in no backup."""
    return hmac.digest(secret.encode(), b"stack:backup", hashlib.sha256)
