"""Estonia's own description of the usage list against ours: `find_usage.py --path DIR`.

DIR holds `dumonitor-openapi.yaml` (https://github.com/e-gov/AJ, doc/spetsifikatsioonid). A suite is started,
a person with usages made known to it, and schemathesis sends it what the document allows and what it does
not: once with invented people, once with the real one.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from services.identity.client import IdentityClient
from services.identity.shapes import Identifier, PersonPush
from services.kit.calls import Calls
from services.kit.settings import Settings
from tests.identity.parties import CITIZEN_NUMBER, citizen_number
from tests.support.suite import Suite, in_thread, running_suite

DOCUMENT = "dumonitor-openapi.yaml"
EXCLUDED = "positive_data_acceptance"
"""The document bounds neither limit nor the form of a code; what is out of bounds here is its 400."""


async def person(suite: Suite) -> str:
    """The userCode of somebody whom health has just asked for: a usage, and its translation another."""

    def calls(service: str) -> Calls:
        settings = Settings(
            home=suite.home.path,
            mode="separate",
            secret=suite.home.secret(),
            public_url=suite.base_url,
            service_url_template=suite.base_url,
        )
        return Calls(settings, service)

    health, exchange = calls("health"), calls("exchange")
    push = PersonPush(ref="1", identifiers=[Identifier(system=CITIZEN_NUMBER, value=citizen_number())])
    try:
        [found] = await health.client(IdentityClient).resolve([push], organisation=None)
        identity = exchange.client(IdentityClient)
        [code] = await identity.translate([str(found.sector_id)], source="health", target="exchange")
        await asyncio.sleep(2.0)  # into the log
    finally:
        await health.close()
        await exchange.close()
    assert code is not None
    return code


def run(suite: Suite, document: Path, folder: Path, code: str | None, examples: int) -> int:
    config = folder / "schemathesis.toml"
    lines = [f"[generation]\nmax-examples = {examples}\n"] if examples else []
    if code is not None:
        lines.append(f'[parameters]\n"query.userCode" = "{code}"\n"header.X-Road-UserId" = "{code}"\n')
    config.write_text("".join(lines))
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(document)),
        *("--url", suite.base_url, "--exclude-checks", EXCLUDED),
        *("-H", f"Authorization: Bearer {suite.token('portal')}"),
    ]
    return subprocess.run(command, cwd=folder, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="the folder of the OpenAPI document")
    parser.add_argument("--examples", type=int, default=200)
    asked = parser.parse_args()
    document = asked.path / DOCUMENT
    with tempfile.TemporaryDirectory() as name, running_suite(Path(name)) as suite:
        folder = Path(name)
        folder.chmod(0o755)
        code = in_thread(lambda: person(suite))
        codes = [run(suite, document, folder, one, asked.examples) for one in (None, code)]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
