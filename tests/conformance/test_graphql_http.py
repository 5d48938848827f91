"""The GraphQL over HTTP server audits of the npm package graphql-http (1.23), all of them."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
AUDITS = 61


def node_modules() -> Path:
    """Where graphql-http stands; the test is skipped by name where it, or Node, is absent."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not here; .ci/run installs it for the GraphQL over HTTP audits")
    for folder in (os.environ.get("HUIMIN_NODE_MODULES"), ROOT, ROOT / ".huimin-node"):
        if folder and (Path(folder) / "node_modules" / "graphql-http").is_dir():
            return Path(folder)
    pytest.skip("npm package graphql-http is not here; .ci/run installs it for the GraphQL over HTTP audits")


def test_every_server_audit_passes(suite: Any) -> None:
    folder = node_modules()
    done = subprocess.run(
        ["node", str(HERE / "graphql_http.mjs"), f"{suite.base_url}/graphql"],
        env={**os.environ, "HUIMIN_NODE_MODULES": str(folder)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["missed"] == []
    assert result["ok"] == result["total"] == AUDITS
