"""Benefit audit (稽核): the rules over a snapshot of everybody, their findings with evidence, and an account
of the run.

A run finds and explains. It stops, reduces and recovers nothing, and tells nobody to: that takes a person's
signed decision, which is not part of this module.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import orjson

from services.exchange.client import ExchangeClient
from services.identity.client import IdentityClient
from services.kit import purposes
from services.kit.calls import DomainError
from services.kit.database import Connection, Database, Row, Transaction
from services.kit.ids import uuid7
from services.kit.principals import Principal
from services.kit.problems import Fault, Problem
from social_security import process, snapshot
from social_security.analytics.pack import Rule, load_pack
from social_security.repository import findings, runs, told
from social_security.shapes import AuditRun, RuleOutcome, RunProgress, RunStatus
from social_security.snapshot import Commit, Deaths, Snapshot

DEATHS = "health.deaths"
DEATHS_A_PAGE = 5_000
STEPS = 4
STAGED_AT_ONCE = 5_000
APPLY_DEADLINE_MS = 600_000
_STATUS: dict[str, RunStatus] = {
    "queued": "queued",
    "running": "running",
    "done": "finished",
    "failed": "failed",
    "cancelled": "failed",
}

Progress = Callable[[int, int], Awaitable[None]]


class Submit(Protocol):
    """Puts the job of a run into the caller's commit and returns its id."""

    async def __call__(self, tx: Transaction, run_id: UUID) -> UUID: ...


async def start(tx: Transaction, *, submit: Submit, rules: Sequence[str]) -> AuditRun:
    """Queues a run of the rules named, or of all.

    Raises:
        Problem: 422 for a rule that is not in the pack; 409 while another run waits or goes on.
    """
    known = load_pack().rules
    unknown = [rule for rule in rules if rule not in known]
    if unknown:
        faults = [Fault(f"there is no rule {rule}", field="rules", code="unknown_rule") for rule in unknown]
        detail = f"there is no rule {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        raise Problem(422, "unknown_rule", detail, faults=faults)
    await runs.one_at_a_time(tx)
    other = await runs.unfinished(tx)
    if other is not None:
        raise Problem(
            409,
            "run_in_progress",
            "another run waits or goes on; its findings will hold for everybody. Wait for it",
            extra={"run_id": str(other)},
        )
    assert tx.principal is not None
    run_id = uuid7()
    await runs.queue(
        tx,
        run_id=run_id,
        job_id=await submit(tx, run_id),
        requested_by=tx.principal.subject,
        rules=sorted(set(rules)) or sorted(known),
    )
    await tx.leaf(action="audit-run.request", resource=f"audit-runs/{run_id}", records=0)
    return run_of(await _row(tx, run_id))


async def run(
    *,
    database: Database,
    commit: Commit,
    exchange: ExchangeClient,
    identity: IdentityClient,
    home: Path,
    run_id: UUID,
    progress: Progress,
) -> AuditRun:
    """Does a queued run, from the snapshot to the findings; doing it twice leaves what doing it once does.

    Args:
        commit: a transaction that only the run's one runner can commit.

    Raises:
        ProgramFailed: the analytics process did not end well; nothing is changed.
        DomainError: identity does not say who is one person; nothing is changed.
    """
    async with database.read() as connection:
        row = await _row(connection, run_id)
    if row["ended"] is not None:
        return run_of(row)
    root = snapshot.root_of(home)
    chosen = load_pack().chosen(row["rules"])
    deaths, refusal = await _deaths(database, exchange, chosen)
    await progress(1, STEPS)
    # After the deaths: an id they were translated to before a decision is put right by it too.
    merged = await identity.merged_ids()
    frozen = await snapshot.take(database, root, deaths=deaths, merged=merged)
    await progress(2, STEPS)
    able = [rule for rule in chosen if set(rule.reads) <= frozen.paths().keys()]
    out = frozen.folder / "findings.ndjson"
    told = await _ask_analytics(frozen, able, out)
    await progress(3, STEPS)
    not_run = [_not_run(rule, refusal) for rule in chosen if rule not in able]
    finished = await _apply(commit, run_id, frozen, out, told, not_run)
    await snapshot.tidy(commit, root)
    await progress(4, STEPS)
    return finished


async def _deaths(
    database: Database, exchange: ExchangeClient, rules: Sequence[Rule]
) -> tuple[Deaths | None, DomainError | None]:
    """Dates of death, if a rule needs them and the exchange gives them; else the reason why not.

    Those the exchange pushed are read where it says they are all there are: nobody's death moves twice.
    """
    if not any("deaths" in rule.reads for rule in rules):
        return None, None
    found = Deaths()
    after: str | None = None
    try:
        agreement = await exchange.settled(DEATHS)
        if agreement is not None:
            async with database.read() as db:
                rows = [dict(row) for row in await told.deaths(db, agreement)]
            return Deaths(rows, agreement), None
        while True:
            page = await exchange.page(DEATHS, after=after, limit=DEATHS_A_PAGE)
            found.add(page.rows, agreement=page.agreement, untranslated=page.untranslated)
            if (after := page.next) is None:
                return found, None
    except DomainError as refusal:
        return None, refusal


async def _ask_analytics(frozen: Snapshot, rules: Sequence[Rule], out: Path) -> dict[str, Any]:
    what = {
        "do": "audit",
        "rules": [rule.id for rule in rules],
        "files": frozen.paths(),
        "out": str(out),
        "memory_mb": snapshot.MEMORY_MB,
        "threads": snapshot.THREADS,
    }
    return await process.told(snapshot.PROGRAM, what, deadline_s=snapshot.DEADLINE_S)


def _not_run(rule: Rule, refusal: DomainError | None) -> RuleOutcome:
    """A rule that could not look is recorded as such: not looking must never read as finding nothing."""
    code = str(refusal.problem.get("code") or refusal.code).lower() if refusal else "no_data"
    reason = refusal.detail if refusal else "the snapshot lacks a table this rule reads"
    return RuleOutcome(rule=rule.id, version=rule.version, outcome="not_run", code=code, reason=reason)


async def _apply(
    commit: Commit,
    run_id: UUID,
    frozen: Snapshot,
    out: Path,
    told: dict[str, Any],
    not_run: Sequence[RuleOutcome],
) -> AuditRun:
    """Findings, account and event of the run in one commit; a rule that did not run keeps its findings."""
    async with commit() as tx:
        await runs.allow_long_statements(tx, APPLY_DEADLINE_MS)
        await runs.one_at_a_time(tx)
        await runs.keep_snapshot(
            tx, snapshot_id=frozen.id, as_of=frozen.as_of, files=frozen.files, sha256=frozen.sha256
        )
        late = await runs.later_run_applied(tx, run_id, frozen.as_of)
        outcomes = list(not_run)
        if not late:
            outcomes += await _replace_findings(tx, run_id, out, told["rules"])
        outcomes.sort(key=lambda outcome: outcome.rule)
        await runs.finish(
            tx,
            run_id,
            ended="superseded" if late else "finished",
            snapshot_id=frozen.id,
            pack_sha256=told["pack_sha256"],
            engines=told["engines"],
            outcomes=[outcome.model_dump(mode="json", exclude_none=True) for outcome in outcomes],
        )
        finished = run_of(await _row(tx, run_id))
        await tx.publish(
            "social_security.audit_run.finished",
            aggregate=str(run_id),
            data=finished.model_dump(mode="json", include={"id", "status", "outcomes"}),
        )
        return finished


async def _replace_findings(
    tx: Transaction, run_id: UUID, out: Path, ran: Sequence[dict[str, Any]]
) -> list[RuleOutcome]:
    await findings.stage(tx)
    subjects: set[str] = set()
    for part in _parts(out):
        subjects.update(finding["subject"] for finding in part)
        await findings.stage_some(tx, [[finding[column] for column in findings.COLUMNS] for finding in part])
    at = datetime.now(UTC)
    counts = await findings.replace(tx, run=run_id, rules=[rule["rule"] for rule in ran], at=at)
    await tx.leaf(
        action="audit-run",
        subjects=sorted(subjects),
        records=sum(rule["found"] for rule in ran),
        resource=f"audit-runs/{run_id}",
        purpose=purposes.BENEFIT_AUDIT,
    )
    return [RuleOutcome(outcome="run", **rule, **counts[rule["rule"]]) for rule in ran]


def _parts(out: Path) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    with out.open("rb") as lines:
        for line in lines:
            finding = orjson.loads(line)
            finding["amount_at_risk"] = Decimal(finding["amount_at_risk"])
            part.append(finding)
            if len(part) == STAGED_AT_ONCE:
                yield part
                part = []
    if part:
        yield part


async def find(database: Database, run_id: UUID, principal: Principal) -> AuditRun:
    """An account of a run; to whoever is responsible for some areas only, with the counts of these.

    Raises:
        Problem: 404 when there is no such run.
    """
    async with database.read() as connection:
        found = run_of(await _row(connection, run_id))
        prefixes = principal.area_prefixes
        if prefixes is None:
            return found
        counts = await _counts_in(connection, found, prefixes)
    found.snapshot_files = []
    found.outcomes = [
        one.model_copy(update={"known": None, "back": None, **counts(one)}) for one in found.outcomes
    ]
    return found


async def _counts_in(
    db: Connection, run: AuditRun, prefixes: Collection[str]
) -> Callable[[RuleOutcome], dict[str, int | None]]:
    """Counts of a run's outcomes in some areas; none once a later run has replaced its findings."""
    names = ("found", "new", "vanished")
    replaced = run.as_of is not None and await runs.later_run_applied(db, run.id, run.as_of)
    counted = {} if replaced else await findings.counts_in(db, run=run.id, prefixes=prefixes)

    def counts(outcome: RuleOutcome) -> dict[str, int | None]:
        if replaced or outcome.outcome != "run":
            return dict.fromkeys(names)
        row = counted.get(outcome.rule)
        return {name: row[name] if row else 0 for name in names}

    return counts


async def _row(db: Any, run_id: UUID) -> Row:
    row: Row | None = await runs.by_id(db, run_id)
    if row is None:
        raise Problem(404, "not_found", "there is no audit run of that id")
    return row


def run_of(row: Row) -> AuditRun:
    return AuditRun(
        id=row["id"],
        job_id=row["job_id"],
        status=row["ended"] or _STATUS[row["state"]],
        progress=RunProgress(done=row["progress_done"], of=row["progress_total"] or STEPS),
        rules=row["rules"],
        requested_at=row["requested_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        as_of=row["as_of"],
        snapshot_sha256=row["snapshot_sha256"],
        snapshot_files=row["snapshot_files"] or [],
        pack_sha256=row["pack_sha256"],
        engines=row["engines"] or {},
        outcomes=[RuleOutcome(**outcome) for outcome in row["outcomes"]],
        problem=row["error"],
    )
