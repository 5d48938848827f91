"""The table of a view from files: `python -m health.fhir.views VIEW.json FILE... --out TABLE.parquet`."""

import argparse
import json
import sys
from pathlib import Path

import duckdb

from health.fhir.outcome import Refusal
from health.fhir.views import run, viewed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("view", type=Path, help="a ViewDefinition")
    parser.add_argument("sources", type=Path, nargs="+", help=".ndjson, .ndjson.gz or .parquet files")
    parser.add_argument("--out", type=Path, required=True, help="a .parquet or .csv file")
    asked = parser.parse_args()
    try:
        with duckdb.connect() as connection:
            table = run.relation(viewed(json.loads(asked.view.read_text("utf-8"))), asked.sources, connection)
            write = table.write_csv if asked.out.suffix == ".csv" else table.write_parquet
            write(str(asked.out))
    except Refusal as refusal:
        sys.stderr.writelines(f"{issue.expression}: {issue.diagnostics}\n" for issue in refusal.issues)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
