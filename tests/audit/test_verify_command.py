"""`./run verify`, as an auditor runs it: against the running suite, then offline on a copy."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from services.stack.home import ROOT
from tests.support.suite import Suite


def verify(suite: Suite, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HUIMIN_")}
    return subprocess.run(
        [sys.executable, "-m", "services.audit.verify", *arguments],
        env={**environment, "HUIMIN_HOME": str(suite.home.path), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def some_accesses(suite: Suite) -> None:
    """Reading the log is one itself; it is in there as soon as a head is signed over it."""
    suite.as_stack("GET", "audit", "/audit/leaves")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if httpx.get(f"{suite.base_url}/audit/heads/latest", timeout=60).json().get("size", 0) > 0:
            return
        time.sleep(0.1)
    raise AssertionError("no head was signed over the accesses")


def test_the_running_suites_log_verifies_and_a_copy_of_it_offline(suite: Suite, tmp_path: Path) -> None:
    some_accesses(suite)
    copy = tmp_path / "log.ndjson"
    online = verify(suite, "--export", str(copy))
    assert online.returncode == 0, online.stderr + online.stdout
    offline = verify(suite, "--log", str(copy))
    assert offline.returncode == 0
    assert offline.stdout == online.stdout
    altered = copy.read_text().replace('"outcome\\":\\"permitted', '"outcome\\":\\"refused', 1)
    copy.write_text(altered)
    named = verify(suite, "--log", str(copy))
    assert named.returncode == 1
    assert "altered; it now reads" in named.stdout


def test_a_file_that_is_not_there_and_a_suite_that_does_not_run_are_told_apart_from_faults(
    suite: Suite, tmp_path: Path
) -> None:
    missing = verify(suite, "--log", str(tmp_path / "nothing"))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "cannot verify" in missing.stderr
    environment = {"HUIMIN_HOME": str(tmp_path / "empty"), "PYTHONPATH": str(ROOT), "PATH": ""}
    stopped = subprocess.run(
        [sys.executable, "-m", "services.audit.verify"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert stopped.returncode == 2
    assert "does not run" in stopped.stderr
