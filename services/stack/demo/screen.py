"""What the demo shows while it runs: progress bars in a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

TITLES = {
    "people": "人口登记 people",
    "guardianships": "监护关系 guardianships",
    "households": "户籍 households",
    "births": "出生登记 births",
    "deaths": "死亡登记 deaths",
    "moves": "居住登记 residence",
    "sites": "景区设置 sights",
    "education": "学籍 pupils",
    "social_security": "社保 social security",
    "fhir": "健康档案 health records",
    "walk_ins": "无证就诊 patients without papers",
    "readings": "闸机客流 gate counts",
}
PLAIN_EVERY_S = 10.0
PLAIN_WIDTH = 140


class Screen:
    """Lines and progress together; used as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        self.console = console or Console(highlight=False, soft_wrap=True, width=width)
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[what]}"),
        )
        self._bars = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> "Screen":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def line(self, text: str = "") -> None:
        self._bars.console.print(text, markup=False)

    def report(self, report: dict[str, Any]) -> None:
        """One of the city's reports of progress."""
        kind, done, total = report["kind"], int(report.get("done", 0)), int(report.get("total", 0))
        title = TITLES.get(kind, kind)
        what = ", ".join(f"{name} {number:,}" for name, number in report.get("what", {}).items())
        what = report.get("clock", what)
        if report.get("refused"):
            what += f"  拒绝 refused {report['refused']:,}"
        if self.console.is_terminal:
            if kind not in self._tasks:
                self._tasks[kind] = self._bars.add_task(title, total=total or None, what="")
            self._bars.update(self._tasks[kind], completed=done, total=total or None, what=what)
        elif done == total or time.monotonic() - self._told.get(kind, 0.0) > PLAIN_EVERY_S:
            self._told[kind] = time.monotonic()
            self.line(f"  {title}  {done:,}{f'/{total:,}' if total else ''}  {what}")
