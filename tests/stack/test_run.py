"""`./run`: what it says when something outside is missing, and that set-up is done once and in full."""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from services.stack import bootstrap
from services.stack.home import ROOT

PLAIN_USER = 65534


@pytest.fixture
def project(public_folder: Path) -> Path:
    """A project of `run`, set-up and a lock of nothing, without the weight of the real one."""
    project = public_folder / "huimin"
    stack = project / "services" / "stack"
    stack.mkdir(parents=True)
    shutil.copy(ROOT / "run", project / "run")
    for name in ("bootstrap.py", "installer.lock"):
        shutil.copy(ROOT / "services" / "stack" / name, stack / name)
    (project / "services" / "__init__.py").touch()
    (stack / "__init__.py").touch()
    (stack / "__main__.py").write_text("import sys; print('handed over', *sys.argv[1:])\n")
    (project / "requirements.lock").write_text("# nothing\n")
    return project


def fake_venv(project: Path, *, pip: str = "", uv: str = "") -> None:
    """A `.venv` whose pip and uv do what the test says, with the real Python behind."""
    folder = project / ".venv"
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "pip").mkdir(parents=True)
    (site / "pip" / "__init__.py").touch()
    (site / "pip" / "__main__.py").write_text(textwrap.dedent(pip) or "pass\n")
    (binaries / "python").symlink_to(os.path.realpath(sys.executable))
    (folder / "pyvenv.cfg").write_text(f"home = {Path(os.path.realpath(sys.executable)).parent}\n")
    script = binaries / "uv"
    script.write_text(f"#!{binaries / 'python'}\n" + textwrap.dedent(uv or "pass\n"))
    script.chmod(0o755)


def run(
    project: Path, *arguments: str, python: str = sys.executable, **environment: str
) -> "subprocess.CompletedProcess[str]":
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HUIMIN_", "PYTHON"))}
    return subprocess.run(
        [python, str(project / "run"), *arguments],
        capture_output=True,
        text=True,
        env=inherited | environment,
        timeout=60,
        check=False,
    )


def assert_one_line(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """Chinese and English, one line, no traceback, not a success."""
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("惠民 Huimin: [")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("惠民 Huimin: ")
    assert " · " in said[0]
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in said[0]


def test_arguments_and_folder_reach_the_command(project: Path) -> None:
    fake_venv(project)
    done = run(project, "up", "--no-auth")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "handed over up --no-auth\n"


def test_a_finished_set_up_is_not_repeated(project: Path) -> None:
    fake_venv(project, uv="open(__file__ + '.ran', 'a').write('x')\n")
    assert run(project).returncode == 0
    assert run(project).stderr == ""
    assert (project / ".venv" / "bin" / "uv.ran").read_text() == "x"


def test_a_changed_lock_is_installed(project: Path) -> None:
    fake_venv(project, uv="open(__file__ + '.ran', 'a').write('x')\n")
    run(project)
    (project / "requirements.lock").write_text("# something else\n")
    assert run(project).returncode == 0
    assert (project / ".venv" / "bin" / "uv.ran").read_text() == "xx"


def test_an_interrupted_set_up_is_done_again(project: Path) -> None:
    fake_venv(
        project,
        uv="""
        import os, pathlib, signal
        mark = pathlib.Path(__file__ + ".ran")
        if not mark.exists():
            mark.touch()
            os.kill(os.getppid(), signal.SIGKILL)
        """,
    )
    assert run(project).returncode < 0
    assert not (project / ".venv" / "huimin-installed").exists()
    assert run(project).returncode == 0
    assert (project / ".venv" / "huimin-installed").exists()


def test_two_at_once_set_up_once(project: Path) -> None:
    # The first goes on once the second stands before its lock, which the kernel shows.
    fake_venv(
        project,
        uv="""
        import os, pathlib, time
        lock = f":{os.stat(pathlib.Path(__file__).resolve().parents[2]).st_ino} "
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if any("->" in line and lock in line for line in open("/proc/locks")):
                break
            time.sleep(0.05)
        open(__file__ + ".ran", "a").write("x")
        """,
    )
    done: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: done.append(run(project))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in done] == [0, 0]
    assert (project / ".venv" / "bin" / "uv.ran").read_text() == "x"
    assert any("waiting for it" in one.stderr for one in done)


def test_no_network(project: Path) -> None:
    said = "Failed to establish a new connection: Temporary failure in name resolution"
    fake_venv(project, pip=f"import sys; sys.exit({said!r})")
    assert_one_line(run(project), "check the network")


def test_no_network_while_uv_downloads(project: Path) -> None:
    fake_venv(project, uv="import sys; sys.exit('error: Failed to fetch: ... dns error')")
    assert_one_line(run(project), "check the network")


def test_no_network_for_real(project: Path) -> None:
    fake_venv(project)
    shutil.rmtree(project / ".venv" / "lib")  # so that the real pip is made, and has nowhere to go
    nowhere = "http://127.0.0.1:9/simple"
    offline = {"PIP_INDEX_URL": nowhere, "PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": "", "HTTPS_PROXY": ""}
    assert_one_line(run(project, **offline), "check the network")


def test_full_disk(project: Path) -> None:
    said = "error: failed to copy: No space left on device (os error 28)"
    fake_venv(project, uv=f"import sys; sys.exit({said!r})")
    assert_one_line(run(project), "is full", "MB free")


def test_almost_full_disk_is_found_before_anything_is_made(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 5 * 2**20))
    with pytest.raises(bootstrap.SetUpError, match="5 MB free"):
        bootstrap.Environment(project).make_current()
    assert not (project / ".venv").exists()


def test_without_venv_the_debian_package_is_named(project: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text("import sys; sys.modules['ensurepip'] = None\n")
    done = run(project, PYTHONPATH=str(hidden))
    assert_one_line(done, "apt install python3-venv")


def test_debians_own_words_about_a_missing_venv() -> None:
    said = "The virtual environment was not created successfully because ensurepip is not available."
    assert "apt install python3-venv" in str(bootstrap._explained(said, Path("/x")))


def test_a_hash_that_does_not_match_is_shown_as_it_is() -> None:
    said = "error: Hash mismatch for `x==1`\n"
    assert "Hash mismatch" in str(bootstrap._explained(said, Path("/x"), "uv pip install"))


def test_a_missing_lock_says_what_to_do(project: Path) -> None:
    (project / "requirements.lock").unlink()
    assert_one_line(run(project), "requirements.lock", "get a complete copy")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_somebody_else(project: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no python3 in /usr/bin that another user may run")
    done = subprocess.run(
        [python, str(project / "run")],
        capture_output=True,
        text=True,
        user=PLAIN_USER,
        group=PLAIN_USER,
        extra_groups=(),
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        check=False,
    )
    assert_one_line(done, "run this as its owner")


@pytest.mark.parametrize("minor", ["3.6", "3.9", "3.10"])
def test_an_old_python(project: Path, minor: str) -> None:
    found = old_python(minor)
    if found is None:
        pytest.skip(f"no Python {minor} here")
    done = run(project, python=found, PATH="/nowhere")
    assert_one_line(done, "3.11", f"Python {minor}")


def test_an_old_python_hands_over_to_a_newer_one_on_the_path(project: Path, tmp_path: Path) -> None:
    found = old_python("3.9") or old_python("3.10")
    if found is None:
        pytest.skip("no Python older than 3.11 here")
    fake_venv(project)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / f"python3.{sys.version_info[1]}").symlink_to(os.path.realpath(sys.executable))
    done = run(project, "status", python=found, PATH=str(binaries))
    assert done.stdout == "handed over status\n"


def old_python(version: str) -> str | None:
    candidates = [shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")]
    roots = Path(os.environ.get("PYENV_ROOT", "/nonexistent")) / "versions"
    candidates += [str(path) for path in sorted(roots.glob(f"{version}.*/bin/python{version}"))]
    return next((path for path in candidates if path), None)


def test_run_itself_needs_nothing_but_the_standard_library() -> None:
    """Imported without site-packages, from nowhere."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import services.stack.bootstrap"
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_another_python_uses_the_environment_that_is_there(project: Path) -> None:
    """It is the environment's own Python that runs the suite; who starts `run` does not matter."""
    others = [old_python(version) for version in ("3.12", "3.13")]
    other = next((path for path in others if path), None)
    if other is None:
        pytest.skip("no second Python that is new enough here")
    fake_venv(project, uv="open(__file__ + '.ran', 'a').write('x')\n")
    run(project)
    assert run(project, "status", python=other).stdout == "handed over status\n"
    assert (project / ".venv" / "bin" / "uv.ran").read_text() == "x"


def test_an_environment_whose_python_was_replaced_is_made_anew(project: Path, tmp_path: Path) -> None:
    fake_venv(project)
    run(project)
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert not bootstrap.Environment(project).is_current()
