"""The process that holds the heavy libraries: told what to do in one line of JSON, answers with one.

{"do": "freeze", "sources": {table: csv}, "merged": csv, "folder": …}
    → {"files": [{table, file, rows, sha256}]}
{"do": "audit", "rules": […], "files": {table: parquet}, "out": …} → {"rules": […], "pack_sha256", "engines"}
"""

import sys
from pathlib import Path
from typing import Any

import orjson


def main() -> None:
    sys.stdout.buffer.write(orjson.dumps(answer(orjson.loads(sys.stdin.buffer.read()))))


def answer(told: dict[str, Any]) -> dict[str, Any]:
    return _freeze(told) if told["do"] == "freeze" else _audit(told)


def _freeze(told: dict[str, Any]) -> dict[str, Any]:
    from social_security.analytics.freeze import freeze

    sources = {table: Path(path) for table, path in told["sources"].items()}
    limits = {"memory_mb": told["memory_mb"], "threads": told["threads"]}
    files = freeze(sources, Path(told["folder"]), merged=Path(told["merged"]), **limits)
    return {"files": files}


def _audit(told: dict[str, Any]) -> dict[str, Any]:
    from social_security.analytics import audit
    from social_security.analytics.pack import load_pack

    pack = load_pack()
    limits = audit.Limits(memory_mb=told["memory_mb"], threads=told["threads"])
    files = {table: Path(path) for table, path in told["files"].items()}
    done = audit.run(pack, told["rules"], files, Path(told["out"]), limits=limits)
    return {"rules": done, "pack_sha256": pack.sha256, "engines": audit.engines()}


if __name__ == "__main__":
    main()
