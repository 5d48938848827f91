"""Sealed files: what was written comes back, and nothing else ever does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.stack import sealing
from services.stack.home import ROOT
from services.stack.sealing import Key, OtherKeyError, SealError, sealed, unsealed

KEY = Key(b"k" * 32)
SMALL = 256
once_a_run = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "CHUNK", SMALL)


def write(path: Path, content: bytes, name: str = "a/b", key: Key = KEY) -> None:
    with sealed(path, key, name, time_ns=5 * 10**9) as file:
        for start in range(0, len(content), 100):
            file.write(content[start : start + 100])


def read(path: Path, name: str = "a/b", key: Key = KEY) -> bytes:
    with unsealed(path, key, name) as file:
        parts = []
        while part := file.read(333):
            parts.append(part)
        assert file.time == 5
    return b"".join(parts)


@once_a_run
@given(st.binary(max_size=4 * SMALL) | st.integers(0, 4).map(lambda n: bytes(n * SMALL)))
def test_what_was_written_comes_back(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "file", content)
    assert read(tmp_path / "file") == content


@once_a_run
@given(where=st.integers(0, 2**20), way=st.integers(0, 4))
def test_a_file_bent_anywhere_is_refused(tmp_path: Path, where: int, way: int) -> None:
    """Bits turned, bytes cut off or put in: never other content, never half of it for the whole."""
    path = tmp_path / "file"
    write(path, os.urandom(3 * SMALL + 7))
    whole = path.read_bytes()
    place = where % len(whole)
    bent = [
        whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        whole[:place],
        whole[:place] + whole[place + 1 :],
        whole[:place] + b"x" + whole[place:],
        whole + b"x",
    ][way]
    path.write_bytes(bent)
    if bent != whole:
        with pytest.raises(SealError):
            read(path)


def test_chunks_in_another_order_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, os.urandom(3 * SMALL))
    whole = path.read_bytes()
    header, rest = whole[:40], whole[40:]
    size = 4 + int.from_bytes(rest[:4], "big")
    assert rest[:4] == rest[size : size + 4]  # of one length, so that only their order is another
    path.write_bytes(header + rest[size : 2 * size] + rest[:size] + rest[2 * size :])
    with pytest.raises(SealError, match="chunk 0"):
        read(path)


def test_a_file_in_anothers_place_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "file", b"content")
    with pytest.raises(SealError, match="was altered"):
        read(tmp_path / "file", name="a/c")


def test_another_secret_is_told_from_a_bent_file(tmp_path: Path) -> None:
    write(tmp_path / "file", b"content")
    with pytest.raises(OtherKeyError, match="HUIMIN_SECRET"):
        read(tmp_path / "file", key=Key(b"o" * 32))


def test_the_content_is_not_in_the_file(tmp_path: Path) -> None:
    content = os.urandom(SMALL * 2)
    write(tmp_path / "file", content)
    kept = (tmp_path / "file").read_bytes()
    assert all(content[place : place + 8] not in kept for place in range(0, len(content), 8))


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with sealed(tmp_path / "file", KEY, "n") as file:
            file.write(bytes(5 * SMALL))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from services.stack.sealing import Key, sealed\n"
        "with sealed(Path(sys.argv[1]), Key(b'k' * 32), 'a/b') as file:\n"
        "    file.write(os.urandom(5_000_000)); print('in the middle', flush=True); sys.stdin.read()\n"
    )
    path = tmp_path / "file"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    assert not path.exists()
    (tmp_path / "file.partial").rename(path)
    with pytest.raises(SealError):
        read(path)
