"""Idle: what the whole suite takes of memory with everything on, and how soon it is up.

Proportional set size (PSS) of the supervisor and everything it started: pages that processes share count
once. Taken after a rest; other programs on the machine that map the same libraries make it a little smaller.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from bench._report import Size, run
from services.stack.status import tree_memory_mb
from tests.support.suite import start_suite, stop_suite

LIMIT_MB = 900
LIMIT_START_S = 10
REST_S = {"small": 20.0, "full": 120.0}


def measure(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="huimin-idle-") as folder:
        Path(folder).chmod(0o755)
        starts = []
        for _ in ("first", "again"):
            began = time.monotonic()
            suite = start_suite(Path(folder))
            try:
                suite.wait_ready()
                starts.append(time.monotonic() - began)
                time.sleep(REST_S[size])
                parts = {name: tree_memory_mb(suite.child(name)) for name in suite.home.state()["children"]}
                total = tree_memory_mb(suite.process.pid)
            finally:
                stop_suite(suite)
    return {
        "figures": {
            "idle_mb": round(total),
            **{f"{name}_mb": round(part) for name, part in parts.items()},
            "first_start_s": round(starts[0], 1),
            "start_s": round(starts[1], 1),
        },
        "peer": {"idle_mb": f"limit {LIMIT_MB}", "start_s": f"target {LIMIT_START_S}"},
    }


if __name__ == "__main__":
    run("idle", measure)
