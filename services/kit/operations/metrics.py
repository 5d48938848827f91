"""The figures as Prometheus has them: gauges of what `figures.read` found last, for each service here.

Names, labels and meanings: docs/operations-metrics.md. A label is never a person, an id or a path; a label
value that is not found any more is not shown any more.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.kit.operations.shapes import Operations

SHOWN_S = 60.0
"""Figures that could not be read anew for so long are left out: a gap says more than an old number."""

_shown: dict[str, tuple[float, Operations]] = {}

GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "huimin_ready": ("Whether a service has what it stands on (1) or not (0)", ("service", "check")),
    "huimin_processes_alive": ("Processes with a sign of life in the last 30 s", ("service", "role")),
    "huimin_heartbeat_age_seconds": ("Since the last sign of life of a role", ("service", "role")),
    "huimin_dead_letter_oldest_seconds": ("Age of the oldest that waits for a person", ("service",)),
    "huimin_jobs_overdue_seconds": ("Age of the oldest due job that has not begun", ("service",)),
    "huimin_failed_pushes_last_day": (
        "Pushes of a sender in 24 hours that were refused (4xx) or failed (5xx)",
        ("service", "organisation", "outcome"),
    ),
    "huimin_deliveries_last_day": ("Deliveries raised in 24 hours, by state", ("channel", "state")),
    "huimin_dataset_age_seconds": ("Since a dataset on offer last changed", ("dataset",)),
    "huimin_dataset_late": ("Whether it is older than its update cycle allows (1) or not (0)", ("dataset",)),
    "huimin_outcome_age_seconds": ("Since the newest backup, drill, restore, promotion", ("kind",)),
    "huimin_outcome_ok": ("Whether it went well (1) or not (0)", ("kind",)),
    "huimin_outcome_duration_seconds": ("How long it took", ("kind",)),
    "huimin_outcome_rpo_seconds": ("What it would lose, or lost, of the latest time", ("kind",)),
    "huimin_outcome_rto_seconds": ("What it took from nothing to a database that answers", ("kind",)),
    "huimin_disk_free_bytes": ("Room left", ("service", "disk")),
    "huimin_disk_size_bytes": ("Size of the disk", ("service", "disk")),
    "huimin_disk_reserve_bytes": ("With less room than this, pushes are refused", ("service", "disk")),
}
"""Every gauge of this module: what it says, and its labels."""

Sample = tuple[str, tuple[str, ...], float | None]


def show(found: Operations) -> None:
    """From now on this is what /metrics says of the service."""
    _shown[found.service] = time.monotonic(), found


def forget(service: str) -> None:
    _shown.pop(service, None)


class _Collector(Collector):
    def collect(self) -> Iterator[Metric]:
        families = {
            name: GaugeMetricFamily(name, about, labels=labels) for name, (about, labels) in GAUGES.items()
        }
        fresh = [found for at, found in _shown.values() if time.monotonic() - at < SHOWN_S]
        for found in fresh:
            for name, labels, value in _samples(found):
                if value is not None:
                    families[name].add_metric(labels, value)
        yield from families.values()


def _samples(found: Operations) -> Iterator[Sample]:
    service = found.service
    for check, said in found.checks.items():
        yield "huimin_ready", (service, check), said == "ok"
    for process in found.processes:
        yield "huimin_processes_alive", (service, process.role), process.alive
        yield "huimin_heartbeat_age_seconds", (service, process.role), process.silent_s
    if found.dead_letters is not None:
        oldest = _age_s(found.dead_letters.oldest_at) if found.dead_letters.oldest_at else 0.0
        yield "huimin_dead_letter_oldest_seconds", (service,), oldest
    if found.jobs is not None:
        yield "huimin_jobs_overdue_seconds", (service,), found.jobs.overdue_s
    for disk in found.disks:
        yield "huimin_disk_free_bytes", (service, disk.name), disk.free_bytes
        yield "huimin_disk_size_bytes", (service, disk.name), disk.total_bytes
        yield "huimin_disk_reserve_bytes", (service, disk.name), disk.reserve_bytes
    yield from _pushes(found)
    yield from _deliveries(found)
    yield from _kept(found)


def _pushes(found: Operations) -> Iterator[Sample]:
    counts: dict[tuple[str, str], int] = {}
    for one in found.failed_pushes:  # an organisation may push through several clients
        for outcome, count in (("refused", one.refused), ("failed", one.failed)):
            key = (one.organisation, outcome)
            counts[key] = counts.get(key, 0) + count
    for key, count in counts.items():
        yield "huimin_failed_pushes_last_day", (found.service, *key), count


def _deliveries(found: Operations) -> Iterator[Sample]:
    for one in found.deliveries:
        for state in ("raised", "sent", "delivered", "acknowledged", "waiting", "dead"):
            yield "huimin_deliveries_last_day", (one.channel, state), getattr(one, state)


def _kept(found: Operations) -> Iterator[Sample]:
    """What is shared, and what was saved."""
    for dataset in found.datasets:
        if dataset.fresh_at is not None:
            yield "huimin_dataset_age_seconds", (dataset.dataset,), _age_s(dataset.fresh_at)
            yield "huimin_dataset_late", (dataset.dataset,), dataset.late
    for outcome in found.outcomes:
        yield "huimin_outcome_age_seconds", (outcome.kind,), _age_s(outcome.at)
        yield "huimin_outcome_ok", (outcome.kind,), outcome.ok
        yield "huimin_outcome_duration_seconds", (outcome.kind,), outcome.seconds
        yield "huimin_outcome_rpo_seconds", (outcome.kind,), outcome.rpo_s
        yield "huimin_outcome_rto_seconds", (outcome.kind,), outcome.rto_s


def _age_s(at: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - at).total_seconds())


REGISTRY.register(_Collector())
