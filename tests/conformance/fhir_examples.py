"""HL7's examples of FHIR R4 against `/fhir`: `fhir_examples.py --path DIR [--validate]`.

DIR is npm's `hl7.fhir.r4.examples` 4.0.1, unpacked. A suite is started without authentication; each example
is stored over HTTP, under its own id where it has one, and read back. Every value must come back as it was
sent, numbers digit by digit, but for `meta.versionId` and `meta.lastUpdated`, which are the server's. The
examples refer to resources that are not among them, so they are sent with `X-References: unchecked`, which
the server grants only without authentication. With `--validate` none is stored: the verdict of `$validate`
on each is asked, as its bytes stand.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.suite import running_suite

HEADERS = {
    "content-type": "application/fhir+json",
    "accept": "application/fhir+json",
    "prefer": "return=minimal",
    "x-references": "unchecked",
}
SERVER_SETS = ("versionId", "lastUpdated")


def values(text: str) -> Any:
    """The tree with each number as it is written, without what a server sets."""
    tree = json.loads(
        text, parse_float=lambda said: ("number", said), parse_int=lambda said: ("number", said)
    )
    kept = {name: value for name, value in tree.get("meta", {}).items() if name not in SERVER_SETS}
    tree.pop("meta", None)
    return {**tree, "meta": kept} if kept else tree


def told(client: httpx.Client, path: Path) -> tuple[str, str]:
    """What became of an example: same, refused or other, and why."""
    raw = path.read_bytes()
    sent = values(raw.decode("utf-8-sig"))
    kind, id = sent["resourceType"], sent.get("id")
    if id is None:
        answer = client.post(f"/fhir/{kind}", content=raw)
    else:
        answer = client.put(f"/fhir/{kind}/{id}", content=raw)
    if answer.status_code not in {200, 201}:
        return "refused", _words(answer)
    found = values(client.get(answer.headers["location"].partition("/_history/")[0]).text)
    if id is None:
        found.pop("id")
    return ("same", "") if found == sent else ("other", _difference(sent, found))


def verdict(client: httpx.Client, path: Path) -> tuple[str, str]:
    """What `$validate` says of an example: same where nothing is wrong, or refused and why."""
    raw = path.read_bytes()
    kind = json.loads(raw.decode("utf-8-sig"))["resourceType"]
    answer = client.post(f"/fhir/{kind}/$validate", content=raw)
    right = answer.status_code == 200 and answer.json()["issue"][0]["severity"] == "information"
    return ("same", "") if right else ("refused", _words(answer))


def _words(answer: httpx.Response) -> str:
    issue = answer.json()["issue"][0]
    where = (issue.get("expression") or [""])[0]
    return f"{answer.status_code} {where}: {issue.get('diagnostics', '')[:160]}"


def _difference(sent: Any, found: Any, path: str = "") -> str:
    for name in (
        sorted(sent.keys() | found.keys()) if isinstance(sent, dict) and isinstance(found, dict) else ()
    ):
        if sent.get(name) != found.get(name):
            return _difference(sent.get(name), found.get(name), f"{path}.{name}")
    return f"{path}: {str(sent)[:80]} came back as {str(found)[:80]}"


def examples(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*.json")):
        if b'"resourceType"' in path.read_bytes():
            yield path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="the package")
    parser.add_argument("--validate", action="store_true", help="ask for verdicts, store nothing")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as name,
        running_suite(Path(name), "up", "--no-auth") as suite,
        httpx.Client(base_url=suite.base_url, headers=HEADERS, timeout=120) as client,
    ):
        for path in examples(asked.path):
            what, words = (verdict if asked.validate else told)(client, path)
            counts[what] += 1
            if what != "same":
                print(f"{what} {path.name} {words}", flush=True)
    good = "are valid" if asked.validate else "came back as sent"
    print(f"{counts['same']} {good}, {counts['refused']} were refused, {counts['other']} came back otherwise")
    return int(counts["other"] > 0)


if __name__ == "__main__":
    sys.exit(main())
