"""What deployment files say, made from the house: `.env`, the proxy's file, docs/processes.md's table.

`python -m services.stack.containers` writes the files anew; tests/stack/test_house.py holds them equal.
"""

from pathlib import Path

from services.kit.settings import Settings
from services.stack.home import ROOT
from services.stack.house import HOUSE, Service

BASE = 8000
CADDYFILE = ROOT / "services" / "stack" / "proxy" / "Caddyfile"
PROCESSES = ROOT / "docs" / "processes.md"
HOLDERS_OF_THE_MASTER = ("identity", "migrate", "worker")
"""identity seals for every service; the worker runs every service's jobs; migrate makes every role."""


def secret_variable(service: Service) -> str:
    return f"HUIMIN_SECRET_{service.name.upper()}"


def env_lines(secret: str) -> list[str]:
    """The `.env` beside docker-compose.yml: the suite's secret, and each service's own one."""
    settings = Settings(secret=secret)
    password = settings.secret_for("stack", "containers").hex()
    lines = [
        f"HUIMIN_SECRET={secret}",
        "HUIMIN_PUBLIC_URL=http://127.0.0.1:8000",
        f"POSTGRES_PASSWORD={password[:32]}",
        f"VALKEY_PASSWORD={password[32:]}",
    ]
    own = [service for service in HOUSE if service.name not in HOLDERS_OF_THE_MASTER]
    return lines + [f"{secret_variable(service)}={settings.secret_of(service.name)}" for service in own]


def caddyfile() -> str:
    """The same paths at one origin, each to the container that answers it."""
    blocks = []
    for service in HOUSE:
        prefixes = [prefix for prefix in service.prefixes if prefix != "/"]
        matched = " ".join(path for prefix in prefixes for path in (prefix, f"{prefix}/*"))
        target = f"{service.host}:{service.port(BASE)}"
        blocks.append(
            f"\t@{service.name} path {matched}\n\thandle @{service.name} {{\n"
            f"\t\treverse_proxy {target} {{\n\t\t\tflush_interval -1\n\t\t}}\n\t}}\n"
        )
    rest = next(service for service in HOUSE if "/" in service.prefixes)
    blocks.append(f"\thandle {{\n\t\treverse_proxy {rest.host}:{rest.port(BASE)}\n\t}}\n")
    head = "# Made from services/stack/house.py by `python -m services.stack.containers`; do not edit.\n"
    return head + ":8000 {\n" + "\n".join(blocks) + "}\n"


def table() -> str:
    """The table of docs/processes.md."""
    rows = [
        "| process | app | port alone | paths at the front door | schema | role |",
        "|---|---|---|---|---|---|",
    ]
    for service in HOUSE:
        paths = " ".join(f"`{prefix}`" for prefix in service.prefixes)
        schema = " ".join(f"`{schema}`" for schema in service.schemas) or "–"
        role = " ".join(f"`{role}`" for role in service.roles) or "–"
        rows.append(
            f"| {service.name} | `{service.app}` | {service.port(BASE)} | {paths} | {schema} | {role} |"
        )
    return "\n".join(rows)


TABLE_BEGINS, TABLE_ENDS = "<!-- house: begin -->\n", "\n<!-- house: end -->"


def with_table(document: str) -> str:
    """The document with the table put where it belongs."""
    before, _, rest = document.partition(TABLE_BEGINS)
    return before + TABLE_BEGINS + table() + TABLE_ENDS + rest.partition(TABLE_ENDS)[2]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    write(CADDYFILE, caddyfile())
    write(PROCESSES, with_table(PROCESSES.read_text()))
