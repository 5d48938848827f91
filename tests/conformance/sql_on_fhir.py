"""The official cases of SQL on FHIR 2 against `health.fhir.views`: `sql_on_fhir.py --path DIR`.

DIR is a checkout of https://github.com/FHIR/fhir-test-cases, or its folder `sql-on-fhir`. The order of rows
says nothing there; the order of columns does where a case names it.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from health.fhir.outcome import Refusal
from health.fhir.views import run, viewed


def cases(folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name and resources, as lines of their own text, of each case, and the case."""
    for path in sorted(folder.glob("*.json")):
        # Numbers stay as they were written.
        of_file = json.loads(path.read_text("utf-8"), parse_float=_Literal)
        if isinstance(of_file, dict):
            lines = "".join(f"{_written(one)}\n" for one in of_file["resources"])
            for test in of_file["tests"]:
                yield f"{path.stem}: {test['title']}", lines, test


class _Literal(float):
    def __new__(cls, literal: str) -> "_Literal":
        found = super().__new__(cls, literal)
        found.literal = literal
        return found

    literal: str

    def __repr__(self) -> str:
        return self.literal


def _written(resource: Any) -> str:
    if isinstance(resource, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_written(v)}" for k, v in resource.items()) + "}"
    if isinstance(resource, list):
        return "[" + ",".join(map(_written, resource)) + "]"
    return repr(resource) if isinstance(resource, _Literal) else json.dumps(resource)


def fault(lines: str, test: dict[str, Any], folder: Path) -> str | None:
    """What is wrong with the answer to a case; None where nothing is."""
    source = folder / "resources.ndjson"
    source.write_text(lines, "utf-8")
    try:
        with duckdb.connect() as connection:
            found = run.relation(viewed(test["view"]), [source], connection).to_arrow_table()
    except Refusal as refusal:
        return None if test.get("expectError") else f"refused: {refusal.detail}"
    if test.get("expectError"):
        return "not refused"
    rows, wanted = found.to_pylist(), test["expect"]
    if test.get("expectColumns", found.column_names) != found.column_names:
        return f"columns {found.column_names}"
    same = sorted(map(_key, rows)) == sorted(map(_key, wanted))
    return None if same else f"gives {rows}, wanted {wanted}"


def _key(row: dict[str, Any]) -> str:
    plain = {name: float(value) if type(value) is int else value for name, value in row.items()}
    return json.dumps(plain, sort_keys=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="the checkout")
    asked = parser.parse_args().path
    folder = asked / "sql-on-fhir" if (asked / "sql-on-fhir").is_dir() else asked
    passed = failed = 0
    with tempfile.TemporaryDirectory() as name:
        for title, lines, test in cases(folder):
            wrong = fault(lines, test, Path(name))
            passed, failed = passed + (wrong is None), failed + (wrong is not None)
            if wrong is not None:
                print(f"    {title}: {wrong}")
    print(f"{passed} of {passed + failed} passed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
