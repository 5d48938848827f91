"""`<home>/backup/journal.jsonl`: what became of backups, drills, restores and promotions, one a line.

Written whether the suite runs or not; told to the audit's door (`/audit/outcomes`) once it does.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from services.stack.home import Home
from services.stack.terminal import say, warn

MARK = {"backup": "备份 backup", "drill": "演练 drill", "restore": "恢复 restore", "promote": "切换 promote"}


def journal_of(home: Home) -> Path:
    return home.path / "backup" / "journal.jsonl"


def record(home: Home, kind: str, *, ok: bool, detail: str, **measured: float | None) -> dict[str, Any]:
    """Adds an outcome (services/audit/shapes.py: Outcome) at the journal's end.

    Args:
        measured: seconds, rpo_s, rto_s, bytes; what is not known is null.
    """
    outcome = {
        "id": str(uuid4()),
        "at": datetime.now(UTC).isoformat(),
        "kind": kind,
        "ok": ok,
        "detail": detail[:1000],
        **{name: measured.get(name) for name in ("seconds", "rpo_s", "rto_s", "bytes")},
    }
    path = journal_of(home)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "w") as journal:
        journal.write(json.dumps(outcome, ensure_ascii=False) + "\n")
        journal.flush()
        os.fsync(journal.fileno())
    return outcome


def outcomes(home: Home) -> list[dict[str, Any]]:
    """All of them, oldest first; a half line, of a writer that was killed, is none."""
    try:
        lines = journal_of(home).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith(b"}\n")]


def untold(home: Home) -> list[dict[str, Any]]:
    try:
        told = int(_mark(home).read_text())
    except (FileNotFoundError, ValueError):
        told = 0
    return outcomes(home)[told:]


def _mark(home: Home) -> Path:
    return journal_of(home).with_name("journal.told")


def is_up(home: Home) -> bool:
    """Whether the application runs that could hear of it."""
    children = (home.running() or {}).get("children", {})
    return bool(children.get("app", {}).get("state") == "running")


async def tell(home: Home) -> None:
    """Tells the running suite what it has not heard yet; what it does not hear now, it will later."""
    from services.audit.client import AuditClient
    from services.audit.shapes import Outcome
    from services.kit.calls import DomainError
    from services.stack.clients import calls_as_stack, words_of

    waiting, known = untold(home), len(outcomes(home))
    if not waiting or not is_up(home):
        return
    try:
        async with calls_as_stack(home) as calls:
            client = calls.client(AuditClient)
            for outcome in waiting:
                await client.tell_outcome(Outcome.model_validate(outcome))
    except DomainError as error:
        warn(f"结果尚未登记到访问日志 · the outcome is in the journal, not yet in the log: {words_of(error)}")
        return
    _mark(home).write_text(str(known))


def say_outcome(outcome: dict[str, Any]) -> None:
    """One line for a person."""
    sign = "✓" if outcome["ok"] else "✗"
    figures = [
        f"{name} {outcome[key]:.1f} s"
        for name, key in (("RPO", "rpo_s"), ("RTO", "rto_s"))
        if outcome[key] is not None
    ]
    say("  ".join([f"  {sign} {MARK[outcome['kind']]}", *figures, outcome["detail"]]))
