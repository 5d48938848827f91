"""Set-up: makes `.venv` and installs what `requirements.lock` pins, then hands over to the command line.

Runs before anything is installed, so it uses the standard library only. Whatever goes wrong ends in one
line that says what to do.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

NEEDED_MB = 1600
"""What `.venv` and the installer's cache take, with some air."""

NETWORK_SIGNS = re.compile(
    r"name resolution|name or service not known|dns error|error sending request|failed to fetch"
    r"|connection (refused|reset|broken|timed out)|connect ?timeout|network is unreachable|timed out"
    r"|newconnectionerror|proxyerror|could not find a version|client error \(connect\)|no route to host",
    re.IGNORECASE,
)
DISK_SIGNS = re.compile(r"no space left|errno 28|disk quota|os error 28|os error 122", re.IGNORECASE)
WRITE_SIGNS = re.compile(
    r"permission denied|read-only file system|errno 13|errno 30|os error 13|os error 30", re.IGNORECASE
)
VENV_SIGNS = re.compile(r"ensurepip is not available|no module named '?(venv|ensurepip)", re.IGNORECASE)


class SetUpError(Exception):
    """Set-up cannot go on; the text is the one line a person reads."""


def main(root: str, arguments: list[str]) -> NoReturn:
    """Makes the environment current and becomes the `huimin` command. Does not return."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        environment = Environment(Path(root))
        environment.make_current()
        environment.become(arguments)
    except SetUpError as error:
        sys.exit(f"惠民 Huimin: {error}")
    except KeyboardInterrupt:
        sys.stderr.write("\n惠民 Huimin: 已中断, 再次运行会继续 · interrupted; run it again to go on\n")
        sys.exit(130)


class Environment:
    """The `.venv` of one checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self.lock = root / "requirements.lock"
        self.installer_lock = root / "services" / "stack" / "installer.lock"
        self.stamp = self.folder / "huimin-installed"

    def is_current(self) -> bool:
        """Whether the last set-up finished, for this very lock and the Python that is still behind it."""
        wanted = self._wanted()
        try:
            return self.python.exists() and self.stamp.read_text() == wanted
        except OSError:
            return False

    def _wanted(self) -> str:
        try:
            locks = self.lock.read_bytes() + self.installer_lock.read_bytes()
        except OSError as error:
            raise SetUpError(
                f"缺少 {error.filename}, 请重新获取代码 · is missing: get a complete copy of the project"
            ) from error
        return f"{hashlib.sha256(locks).hexdigest()} {os.path.realpath(self.python)}\n"

    def make_current(self) -> None:
        """Installs what is missing, once, however many of us are started at the same time.

        Raises:
            SetUpError: something outside has to be put right first.
        """
        if self.is_current():
            return
        self._check_writable()
        with self._alone():
            if not self.is_current():
                self._check_disk()
                self._install()

    def _check_writable(self) -> None:
        for folder in (self.root, self.folder):
            if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
                raise SetUpError(_unwritable(folder))

    def _check_disk(self) -> None:
        free_mb = shutil.disk_usage(self.root).free // 2**20
        if free_mb < NEEDED_MB and not self.stamp.exists():
            raise SetUpError(_disk_full(self.root, f"{free_mb} MB"))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One set-up at a time; the kernel lets go of the lock when a set-up is killed."""
        handle = os.open(self.root, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _say("另一个进程正在准备环境, 请稍候 · another ./run is setting up; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise _explained(str(error), self.root) from error
        finally:
            os.close(handle)

    def _install(self) -> None:
        started = time.monotonic()
        self.stamp.unlink(missing_ok=True)
        self._make_venv()
        self._install_uv()
        self._install_locked()
        # Last, and at once: an interrupted set-up leaves no stamp and is done again.
        partial = self.stamp.with_suffix(".partial")
        partial.write_text(self._wanted())
        partial.replace(self.stamp)
        _say(f"环境就绪 · ready after {time.monotonic() - started:.0f} s")

    def _make_venv(self) -> None:
        if self._usable():
            return
        # Debian keeps ensurepip apart, and venv without it fails half-way with nothing but an exit code.
        if find_spec("venv") is None or find_spec("ensurepip") is None:
            raise SetUpError(_no_venv())
        _say(f"[1/3] 建立 Python 环境 · making {self.folder}")
        if self.folder.is_symlink() or self.folder.exists():
            shutil.rmtree(self.folder)
        self._run([sys.executable, "-m", "venv", str(self.folder)], "python -m venv")

    def _usable(self) -> bool:
        """Whether a `.venv` with a working pip is there already, of whichever Python that is new enough."""
        if not self.python.exists():
            return False
        probe = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
        return subprocess.run([self.python, "-c", probe], capture_output=True).returncode == 0

    def _install_uv(self) -> None:
        _say("[2/3] 安装 uv · installing uv")
        command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        command += ["--retries", "2", "--require-hashes", "-r", str(self.installer_lock)]
        self._run(command, "pip install uv")

    def _install_locked(self) -> None:
        packages = sum(1 for line in self.lock.read_text().splitlines() if re.match(r"[A-Za-z0-9]", line))
        _say(f"[3/3] 安装 {packages} 个依赖, 约需一两分钟 · installing {packages} packages, a minute or two")
        command = [str(self.folder / "bin" / "uv"), "pip", "install", "--python", str(self.python)]
        # Compiled now, once: every start is quicker, also for users who may not write here.
        command += ["--no-progress", "--compile-bytecode", "--require-hashes", "-r", str(self.lock)]
        if not _home_writable():
            command.insert(3, "--no-cache")
        self._run(command, "uv pip install")

    def _run(self, command: list[str], step: str) -> None:
        """One step; its own output is shown only as the line it comes down to."""
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH")}
        with tempfile.TemporaryFile() as output:
            try:
                code = subprocess.call(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
            except OSError as error:
                raise _explained(f"{step}: {error}", self.root) from error
            output.seek(0)
            text = output.read().decode(errors="replace")
        if code != 0:
            raise _explained(text or f"{step}: exit code {code}", self.root, step)

    def become(self, arguments: list[str]) -> NoReturn:
        """Replaces this process by the command line, which keeps the caller's folder for relative paths."""
        environment = dict(os.environ, PYTHONPATH=str(self.root), HUIMIN_ROOT=str(self.root))
        command = [str(self.python), "-P", "-m", "services.stack", *arguments]
        sys.stdout.flush()
        try:
            os.execve(self.python, command, environment)  # noqa: S606 - this is the hand-over itself
        except OSError as error:
            raise SetUpError(f"无法启动 {self.python} · cannot be started: {error.strerror}") from error


def _explained(output: str, root: Path, step: str = "set-up") -> SetUpError:
    """The one line that fits what a tool printed before it gave up."""
    if VENV_SIGNS.search(output):
        return SetUpError(_no_venv())
    if DISK_SIGNS.search(output):
        return SetUpError(_disk_full(root, "0 MB"))
    if WRITE_SIGNS.search(output):
        return SetUpError(_unwritable(root))
    if NETWORK_SIGNS.search(output):
        return SetUpError(
            "无法下载依赖, 请检查网络或代理后重试 · packages cannot be downloaded: check the network "
            "(or HTTPS_PROXY, or PIP_INDEX_URL and UV_INDEX_URL for a mirror) and run this again"
        )
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no output")
    return SetUpError(f"{step} 失败 · failed: {last[:300]}")


def _no_venv() -> str:
    version = "{}.{}".format(*sys.version_info[:2])
    return (
        "缺少 venv 组件, 请先安装 · this Python cannot make virtual environments; install what it lacks: "
        f"apt install python3-venv (or python{version}-venv), and run this again"
    )


def _disk_full(folder: Path, free: str) -> str:
    return (
        f"磁盘空间不足, 请腾出 {NEEDED_MB} MB 后重试 · the disk of {folder} is full ({free} free): "
        f"make {NEEDED_MB} MB free and run this again"
    )


def _unwritable(folder: Path) -> str:
    return (
        f"无权写入 {folder}, 请用其所有者运行或复制到自己的目录 · cannot write there: run this as its owner, "
        "or copy the project to a folder of your own"
    )


def _home_writable() -> bool:
    """Whether uv may keep its cache where it wants to."""
    chosen = os.environ.get("UV_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    folder = Path(chosen) if chosen else Path(os.path.expanduser("~"))
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)


def _say(line: str) -> None:
    sys.stderr.write(f"惠民 Huimin: {line}\n")
    sys.stderr.flush()
