"""What the figures mean to a person: a level for each (fine, to be watched, wrong), words, and bars."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Level = Literal["fine", "watch", "wrong"]
LEVELS: tuple[Level, ...] = ("wrong", "watch", "fine")
Found = dict[str, Any]
ROLES = ("application", "relay", "consumer", "jobs", "worker")
SENDERS = 30
HOUR_S, DAY_S = 3600.0, 86400.0
SILENT_S = (30.0, 60.0)
"""A part of a service is seen every ten seconds."""
WORKER_S = (45.0, 60.0)
"""The worker by a job every twenty; without one for a minute it is taken to be dead."""
RELAY_S = (5.0, 60.0)
BEHIND = (1_000, 20_000)
"""Events; what a reader has not taken in beyond the second is kept off the stream (services/kit/events)."""
OVERDUE_S = (60.0, 600.0)
DELIVERED_S = (60.0, 600.0)
SAVED_S = (1.2 * DAY_S, 3 * DAY_S)
"""A backup and a drill every night, and some hours to make them."""
_UNITS = (
    (120.0, 1.0, "unit_s"),
    (2 * HOUR_S, 60.0, "unit_min"),
    (2 * DAY_S, HOUR_S, "unit_h"),
    (float("inf"), DAY_S, "unit_d"),
)


def level_of(value: float | None, limits: tuple[float, float]) -> Level:
    if value is None or value > limits[1]:
        return "wrong"
    return "watch" if value > limits[0] else "fine"


@dataclass(frozen=True, slots=True)
class View:
    """The answer of `operations`, to be drawn.

    Attributes:
        t: the texts of the page's language.
    """

    services: list[Found]
    t: dict[str, str]
    language: str

    # -- words ------------------------------------------------------------------------------------------

    def span(self, seconds: float | None) -> str:
        """A length of time, as short as may be: 340 ms, 12 s, 3 min, 5 h, 2 d."""
        if seconds is None:
            return "–"
        if 0 < seconds < 1:
            return f"{seconds * 1000:.0f} {self.t['unit_ms']}"
        size, unit = next((size, unit) for limit, size, unit in _UNITS if seconds < limit)
        return f"{seconds / size:.0f} {self.t[unit]}"

    def age(self, at: str) -> str:
        return self.t["ago"].format(span=self.span(_age_s(at)))

    @staticmethod
    def room(size: float) -> str:
        return f"{size / 1e9:,.1f} GB"

    def name(self, service: str) -> str:
        return self.t.get(f"service_{service}", service)

    # -- what needs somebody ----------------------------------------------------------------------------

    def alerts(self) -> list[tuple[Level, str, str]]:
        """Level, words, and the part of the page it is in; the worst first."""
        found = [*self._alerts()]
        return sorted(found, key=lambda one: LEVELS.index(one[0]))

    def _alerts(self) -> Iterator[tuple[Level, str, str]]:
        for one in self.services:
            name = self.name(one["service"])
            if not one["answers"]:
                yield "wrong", self.t["alert_down"].format(service=name), "processes"
            for check in one["checks"]:
                if not check["ok"]:
                    part = self.t[f"check_{check['name']}"]
                    yield "wrong", self.t["alert_check"].format(service=name, part=part), "processes"
            letters = one["deadLetters"] or {"waiting": 0}
            if letters["waiting"]:
                words = self.t["alert_letters"].format(service=name, count=letters["waiting"])
                yield "wrong", words, "letters"
        for label, rows in (
            ("processes", [cell for row in self.processes() for cell in row["cells"] if cell]),
            ("streams", self.streams()),
            ("pushes", self.pushes()),
            ("deliveries", self.deliveries()),
            ("datasets", self.datasets()),
            ("saved", self.saved()),
            ("disks", self.disks()),
        ):
            amiss = [row["level"] for row in rows if row["level"] != "fine"]
            if amiss:
                yield _worst(*amiss), self.t[f"alert_{label}"].format(count=len(amiss)), label

    # -- the parts --------------------------------------------------------------------------------------

    def processes(self) -> list[Found]:
        """A row a service, a cell a role; None where the service has no such part."""
        return [
            {
                "service": one["service"],
                "name": self.name(one["service"]),
                "answers": one["answers"],
                "detail": self.t.get(f"error_{(one['detail'] or '').lower()}", ""),
                "checks": one["checks"],
                "cells": [self._cell(one["processes"], role) for role in ROLES],
            }
            for one in self.services
        ]

    def _cell(self, processes: list[Found], role: str) -> Found | None:
        found = next((one for one in processes if one["role"] == role), None)
        limits = WORKER_S if role == "worker" else SILENT_S
        return found and {**found, "level": level_of(found["silentS"], limits)}

    def streams(self) -> list[Found]:
        """Of each service what its relay has not sent, who is how far behind in reading, and its jobs."""
        rows = []
        for one in self.services:
            if one["relay"] is None:
                continue
            readers = sorted(one["readers"], key=lambda reader: -reader["behind"])
            behind = readers[0]["behind"] if readers else 0
            late = level_of(one["relay"]["oldestS"], RELAY_S), level_of(behind, BEHIND)
            rows.append(
                {
                    "name": self.name(one["service"]),
                    **one["relay"],
                    "readers": readers,
                    "behind": behind,
                    "width": _percent(behind, BEHIND[1]),
                    "jobs": one["jobs"],
                    "level": _worst(*late, level_of(one["jobs"]["overdueS"], OVERDUE_S)),
                }
            )
        return rows

    def pushes(self) -> list[Found]:
        """Senders whose pushes came to nothing, the most first; `bars` are the last 24 hours, one each."""
        rows = []
        for one in self.services:
            for sender in one["failedPushes"]:
                most = max(sender["hours"])
                rows.append(
                    {
                        **sender,
                        "name": self.name(one["service"]),
                        "total": sender["refused"] + sender["failed"],
                        "bars": [_percent(count, most) for count in sender["hours"]],
                        "level": "wrong" if sender["failed"] else "watch",
                    }
                )
        return sorted(rows, key=lambda row: -row["total"])[:SENDERS]

    def deliveries(self) -> list[Found]:
        rows = []
        for one in (channel for service in self.services for channel in service["deliveries"]):
            slow = level_of(one["deliveredP95S"] or 0, DELIVERED_S)
            share = _percent(one["delivered"], one["raised"])
            rows.append({**one, "share": share, "level": "wrong" if one["dead"] else slow})
        return rows

    def datasets(self) -> list[Found]:
        """Those that are late first; one that says nothing of its age is neither."""
        rows = [
            {
                **one,
                "title": one["titleZh" if self.language == "zh" else "titleEn"],
                "level": "watch" if one["late"] else "fine",
            }
            for service in self.services
            for one in service["datasets"]
        ]
        return sorted(rows, key=lambda row: (row["level"] != "watch", row["dataset"]))

    def saved(self) -> list[Found]:
        """Backup and drill, done or not yet, then whatever else happened."""
        said = {one["kind"]: one for service in self.services for one in service["outcomes"]}
        kinds = ["backup", "drill", *sorted(said.keys() - {"backup", "drill"})]
        return [
            {"kind": kind, "found": said.get(kind), "level": _saved(kind, said.get(kind))} for kind in kinds
        ]

    def disks(self) -> list[Found]:
        """Services that see the same disk share a row; the least room any of them saw."""
        rows: dict[tuple[str, float], Found] = {}
        for one in self.services:
            for disk in one["disks"]:
                key = disk["name"], disk["totalBytes"]
                known = rows.setdefault(key, {**disk, "services": []})
                known["services"].append(self.name(one["service"]))
                known["freeBytes"] = min(known["freeBytes"], disk["freeBytes"])
        return [
            {
                **row,
                "used": 100 - _percent(row["freeBytes"], row["totalBytes"]),
                "reserve": 100 - _percent(row["reserveBytes"], row["totalBytes"]),
                "level": _room(row),
            }
            for row in rows.values()
        ]


def _worst(*levels: Level) -> Level:
    return next(level for level in LEVELS if level in levels)


def _saved(kind: str, found: Found | None) -> Level:
    if found is None:
        return "watch"
    if not found["ok"]:
        return "wrong"
    return level_of(_age_s(found["at"]), SAVED_S) if kind in ("backup", "drill") else "fine"


def _room(disk: Found) -> Level:
    if disk["freeBytes"] < disk["reserveBytes"]:
        return "wrong"
    return "watch" if disk["freeBytes"] < max(4 * disk["reserveBytes"], disk["totalBytes"] / 20) else "fine"


def _percent(part: float, whole: float) -> float:
    return round(min(100.0, 100 * part / whole), 1) if whole else 0.0


def _age_s(at: str) -> float:
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())
