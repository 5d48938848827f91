"""schemathesis over health's own OpenAPI, of `/fhir` and of `/health`.

A suite is started without authentication; schemathesis reads what the service says of itself and sends what
that allows and what it does not, to every door, half of the time to each document's. It stops at the first
5xx, and prints the request as curl: `fhir_openapi.py [--minutes 10] [--seed 1]`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.suite import running_suite


def run(document: str, url: str, folder: Path, seed: int, minutes: float) -> int:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", document),
        *("--url", url, "--checks", "not_a_server_error", "--max-failures", "1"),
        *("--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--warnings", "off"),
        *("--seed", str(seed), "--max-time", str(int(minutes * 60))),
    ]
    return subprocess.run(command, cwd=folder, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        running_suite(Path(name), "up", "--no-auth") as suite,
    ):
        base = suite.base_url
        for document, url in (
            (f"{base}/fhir/openapi.json", f"{base}/fhir"),
            (f"{base}/health/openapi.json", base),
        ):
            if code := run(document, url, Path(name), asked.seed, asked.minutes / 2):
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
