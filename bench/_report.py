"""How a measurement is run and shown: a table for people, then one line of JSON."""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

Size = Literal["small", "full"]
Main = Callable[[Size], dict[str, Any]]


def run(name: str, main: Main) -> None:
    """Runs `main(size)`, which gives `{"figures": {…}, "peer": {…}}`, and prints what it measured."""
    parser = argparse.ArgumentParser(prog=f"bench {name}")
    parser.add_argument("--size", choices=("small", "full"), default="small")
    size: Size = parser.parse_args().size
    found = main(size)
    result = {"bench": name, "cores": os.cpu_count(), "size": size, **found}
    _draw(name, size, found["figures"], found.get("peer") or {})
    print(json.dumps(result, ensure_ascii=False))


def _draw(name: str, size: str, figures: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    table = Table("", "Huimin", "peer / limit", title=f"{name} ({size}, {os.cpu_count()} cores)")
    for key, value in figures.items():
        table.add_row(key, _shown(value), _shown(peer[key]) if key in peer else "")
    Console().print(table)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
