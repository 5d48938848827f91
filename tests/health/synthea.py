"""The Synthea bundles of ../shared/data, and what must be true once they are loaded."""

import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from health.fhir import text

ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "synthea_r4.tar.xz"
REPEATED = ("Organization", "Practitioner")


def bundles(limit: int | None = None) -> list[bytes]:
    """The bundles, or the first few, as they are in the archive; skips the test where it is absent."""
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE.name} is not in ../shared/data")
    found: list[bytes] = []
    with tarfile.open(ARCHIVE, "r|xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".json") else None
            if file is not None:
                found.append(file.read())
            if len(found) == limit:
                break
    return found


def as_lines(raws: Iterable[bytes]) -> Iterator[bytes]:
    """The resources as lines of NDJSON, each once: with the ids they have, and references by these."""
    seen: set[str] = set()
    for raw in raws:
        tree = text.parsed(text.decoded(raw))
        resources = [entry["resource"] for entry in tree["entry"]]
        locals_ = {f"urn:uuid:{one['id']}": f"{one['resourceType']}/{one['id']}" for one in resources}
        for one in resources:
            if one["id"] not in seen:
                seen.add(one["id"])
                yield text.written(_rewritten(one, locals_)).encode()


def literal(raw: bytes | str) -> Any:
    """JSON with its decimals as they are written."""
    return json.loads(raw, parse_float=lambda digits: f"decimal {digits}")


def expected_counts(raws: Iterable[bytes]) -> Counter[str]:
    """Resources by type, an Organization or Practitioner that comes again counted once."""
    counts: Counter[str] = Counter()
    seen: set[tuple[str, str, str]] = set()
    for raw in raws:
        for entry in json.loads(raw)["entry"]:
            resource = entry["resource"]
            kind = resource["resourceType"]
            if kind in REPEATED:
                [identifier] = resource["identifier"]
                name = (kind, identifier["system"], identifier["value"])
                if name in seen:
                    continue
                seen.add(name)
            counts[kind] += 1
    return counts


def as_kept(entry: Mapping[str, Any], stored: Mapping[str, str]) -> Any:
    """What a read must give for an entry, id and meta left aside.

    Args:
        entry: as sent, parsed with `literal`.
        stored: `Type/id` by fullUrl.
    """
    return _rewritten({k: v for k, v in entry["resource"].items() if k not in ("id", "meta")}, stored)


def _rewritten(node: Any, stored: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            name: stored.get(value, value) if name == "reference" else _rewritten(value, stored)
            for name, value in node.items()
        }
    return [_rewritten(item, stored) for item in node] if isinstance(node, list) else node
