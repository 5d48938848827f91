"""HealthSamurai's conformance suite against `/fhir`: `fhir262.py --path DIR [--only validation]`.

DIR is a checkout of https://github.com/HealthSamurai/fhir262 in which `npm install jest@29 ts-jest@29
typescript@5 @types/jest@29 @types/node@22 @jest/globals@29` was run (Node 20). A suite is
started for it, and its tests sent as a hospital's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.suite import running_suite

ADAPTER = """
const base = process.env.FHIR_BASE;
async function ask(method, path, body) {
  const headers = { "content-type": "application/fhir+json", accept: "application/fhir+json",
    authorization: `Bearer ${process.env.FHIR_TOKEN}` };
  const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  let found = text;
  try { found = JSON.parse(text); } catch {}
  return { status: answer.status, body: found };
}
exports.impl = { server: { startWithCoreOnly: async () => ({ stop: async () => {}, rest: {
  operation: (type, name, body) => ask("POST", `/${type}/${name}`, body),
  systemOperation: (name, body) => ask("POST", `/${name}`, body),
  read: (type, id) => ask("GET", `/${type}/${id}`),
  create: (type, body) => ask("POST", `/${type}`, body),
  update: (type, id, body) => ask("PUT", `/${type}/${id}`, body),
  delete: (type, id) => ask("DELETE", `/${type}/${id}`),
  search: (type, query) => ask("GET", `/${type}${query ? "?" + query : ""}`),
} }) } };
"""
CONFIG = """
const theirs = require("./jest.config.cjs");
module.exports = { ...theirs, reporters: ["default"], testTimeout: 60000,
  transform: { "^.+\\\\.ts$": ["ts-jest", { diagnostics: false }] } };
"""


def run(path: Path, folder: Path, server: dict[str, str], only: str) -> int:
    """Their tests, their own words; then one line for each that failed."""
    adapter, config, results = folder / "adapter.cjs", path / "jest.huimin.cjs", folder / "results.json"
    adapter.write_text(ADAPTER)
    config.write_text(CONFIG)
    told = {**os.environ, **server, "FHIR262_IMPL_PATH": str(adapter)}
    command = ["npx", "jest", "-c", config.name, "--json", "--outputFile", str(results), f"tests/{only}"]
    try:
        subprocess.run(command, cwd=path, env=told, check=False, capture_output=True)
        found = json.loads(results.read_text())
    finally:
        config.unlink()
    for file in found["testResults"]:
        passed = sum(one["status"] == "passed" for one in file["assertionResults"])
        print(f"{passed} of {len(file['assertionResults'])}: {Path(file['name']).relative_to(path)}")
        for one in file["assertionResults"]:
            if one["status"] != "passed":
                print(f"    {one['fullName']}")
    print(f"{found['numPassedTests']} of {found['numTotalTests']} passed")
    return int(found["numFailedTests"] > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="the checkout")
    parser.add_argument("--only", default="", help="one folder of its tests")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_suite(Path(name)) as suite:
        told = {"FHIR_BASE": f"{suite.base_url}/fhir", "FHIR_TOKEN": suite.token("hospital")}
        return run(asked.path.resolve(), Path(name), told, asked.only)


if __name__ == "__main__":
    sys.exit(main())
