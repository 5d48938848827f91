"""Access leaves: who did what with whose data, under which authority. Written once, never changed.

A leaf of a write goes into the record's own commit (`Transaction.leaf`). Leaves of reads are committed in
groups within 50 ms (`LeafBuffer.add`); for specially protected data before the answer (`LeafBuffer.write`).
`services/audit` puts all of them into one Merkle tree.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Unpack

import orjson

from services.kit import telemetry
from services.kit.canonical import leaf_hash, set_root
from services.kit.problems import unavailable
from services.kit.waking import stopped, wait

if TYPE_CHECKING:
    from services.kit.database import Connection, Database
    from services.kit.principals import Principal

Outcome = Literal["permitted", "refused"]

COLUMNS = ("at", "subject", "body", "hash")


class About(TypedDict, total=False):
    """What may be said about an access, besides who (taken from the principal) and the action.

    Attributes:
        subject: sector id of the one person concerned.
        subjects: sector ids of all of them, for a bulk access: their Merkle root and count go into the leaf.
        records: how many records were read or written.
        system: the outside system the caller says it acts for.
        resource: what was accessed, e.g. `Patient/123` or a dataset's name. Never a citizen number.
        batch_hash: SHA-256 of the pushed batch, hexadecimal.
        agreement: id of the exchange agreement the access rests on.
        relation: what ties the caller to the person, where the access rests on it: treatment, break_glass, …
        reason: free words of the requester.
        hidden: id of the recorded right by which the person's own list only counts this access.
        outcome: `permitted` unless said otherwise.
    """

    subject: str | None
    subjects: Sequence[str] | None
    records: int
    system: str | None
    purpose: str | None
    legal_basis: str | None
    resource: str | None
    batch_hash: str | None
    agreement: str | None
    reason: str | None
    relation: str | None
    hidden: str | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Leaf:
    """One access, as it will stand in the log.

    Attributes:
        trace: of the request it was part of (W3C trace context), by which its steps belong together.
    """

    at: datetime
    service: str
    action: str
    organisation: str | None = None
    client: str | None = None
    actor: str | None = None
    system: str | None = None
    subject: str | None = None
    subjects: Sequence[str] | None = None
    records: int = 1
    purpose: str | None = None
    legal_basis: str | None = None
    resource: str | None = None
    batch_hash: str | None = None
    agreement: str | None = None
    reason: str | None = None
    relation: str | None = None
    hidden: str | None = None
    outcome: Outcome = "permitted"
    trace: str | None = None

    def body(self) -> bytes:
        """The leaf's RFC 8785 form; what is not known is left out.

        All keys are ASCII and all values strings or small whole numbers, for which orjson's sorted output
        is that form at a seventieth of the time (tests/kit/test_leaves.py holds the two equal).
        """
        said: dict[str, Any] = {
            name: value
            for name in self.__slots__
            if name not in {"at", "subjects"} and (value := getattr(self, name)) is not None
        }
        said["at"] = self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if self.subjects is not None:
            said["subjects_root"] = set_root(self.subjects).hex()
            said["subjects_count"] = len(set(self.subjects))
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)

    def row(self) -> tuple[datetime, str | None, str, bytes]:
        body = self.body()
        return self.at, self.subject, body.decode(), leaf_hash(body)


class Acting(Protocol):
    """Whoever acts within a service: a `Transaction`, above all."""

    @property
    def service(self) -> str: ...
    @property
    def principal(self) -> "Principal | None": ...


def leaf_of(acting: Acting, *, action: str, **about: Unpack[About]) -> Leaf:
    """The leaf of what a service's transaction does now for its principal."""
    return _leaf(acting.service, acting.principal, action, about)


def _leaf(service: str, principal: "Principal | None", action: str, about: About) -> Leaf:
    said: dict[str, Any] = {**about, "trace": telemetry.trace_id()}
    if principal is None:
        return Leaf(at=datetime.now(UTC), service=service, action=action, client=f"service:{service}", **said)
    said["purpose"] = said.get("purpose") or principal.purpose
    return Leaf(
        at=datetime.now(UTC),
        service=service,
        action=action,
        organisation=principal.organisation,
        client=principal.client_id or None,
        actor=principal.subject,
        **said,
    )


async def write(db: "Connection", leaf: Leaf) -> None:
    """Puts the leaf, and the persons behind its root, into the caller's transaction."""
    sql = "insert into leaf (at, subject, body, hash) values ($1, $2, $3, $4)"
    if leaf.subjects is None:
        await db.execute(sql, *leaf.row())
        return
    seq = await db.fetchval(sql + " returning seq", *leaf.row())
    await db.copy_records_to_table(
        "leaf_member",
        records=[(subject, seq) for subject in sorted(set(leaf.subjects))],
        columns=("subject", "leaf_seq"),
    )


async def write_many(db: "Connection", leaves: Sequence[Leaf]) -> None:
    """Many leaves in the order given, by COPY."""
    plain = [leaf.row() for leaf in leaves if leaf.subjects is None]
    if plain:
        await db.copy_records_to_table("leaf", records=plain, columns=COLUMNS)
    for leaf in leaves:
        if leaf.subjects is not None:
            await write(db, leaf)


class LeafBuffer:
    """Leaves of reads, committed in groups.

    When the database does not take them, reads are refused rather than left unrecorded.

    Args:
        within_s: a leaf waits at most this long for others before its group is committed; together with
            the commit itself it stays under 50 ms.
        most: beyond this many waiting leaves `add` refuses.
        patience_s: after this long without a successful commit `add` refuses.
    """

    def __init__(
        self, database: "Database", *, within_s: float = 0.025, most: int = 20_000, patience_s: float = 5.0
    ) -> None:
        self._database = database
        self._within_s = within_s
        self._most = most
        self._patience_s = patience_s
        self._waiting: list[Leaf] = []
        self._some = asyncio.Event()
        self._urgent = asyncio.Event()
        self._taken = self._kept = 0
        self._flushes: list[tuple[int, asyncio.Future[None]]] = []
        self._failing_since: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"{self._database.service}:leaves")

    async def stop(self) -> None:
        """Commits what is still waiting, if the database takes it within the patience."""
        task, self._task = self._task, None
        if task is None:
            return
        try:
            async with asyncio.timeout(self._patience_s):
                await self.flush()
        except TimeoutError:
            telemetry.logger(self._database.service).error(
                "leaves lost at stop", extra={"leaves": len(self._waiting)}
            )
        await stopped(task)

    def add(self, principal: "Principal | None", *, action: str, **about: Unpack[About]) -> None:
        """Takes the leaf of a read; it is committed within 50 ms.

        Raises:
            Problem: 503 when leaves cannot be written at present.
        """
        self._put(_leaf(self._database.service, principal, action, about))

    async def write(self, principal: "Principal | None", *, action: str, **about: Unpack[About]) -> None:
        """The same for specially protected data: returns once the leaf is committed."""
        self._put(_leaf(self._database.service, principal, action, about))
        await self.flush()

    async def flush(self) -> None:
        """Returns once every leaf taken so far is committed."""
        if self._kept == self._taken:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append((self._taken, done))
        self._urgent.set()
        await done

    def _put(self, leaf: Leaf) -> None:
        failing = self._failing_since
        stuck = failing is not None and time.monotonic() - failing > self._patience_s
        if stuck or len(self._waiting) >= self._most:
            raise unavailable(
                "accesses cannot be recorded at present, so nothing is shown; try again shortly"
            )
        leaf.body()  # what cannot be written is refused here, where it hinders nobody else's leaves
        self._waiting.append(leaf)
        self._taken += 1
        self._some.set()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            await wait(self._urgent, self._within_s)
            self._some.clear()
            self._urgent.clear()
            group, self._waiting = self._waiting, []
            try:
                async with self._database.transaction() as tx:
                    await write_many(tx, group)
            except Exception as error:  # noqa: BLE001 - whatever hinders the commit, the leaves are kept
                self._waiting = group + self._waiting
                await self._failed(error)
            else:
                self._failing_since = None
                self._committed(len(group))

    def _committed(self, count: int) -> None:
        self._kept += count
        telemetry.leaves_written.labels(self._database.service).inc(count)
        telemetry.leaves_waiting.labels(self._database.service).set(len(self._waiting))
        for _, done in [f for f in self._flushes if f[0] <= self._kept and not f[1].done()]:
            done.set_result(None)
        self._flushes = [f for f in self._flushes if f[0] > self._kept and not f[1].done()]

    async def _failed(self, error: Exception) -> None:
        self._failing_since = self._failing_since or time.monotonic()
        telemetry.leaves_waiting.labels(self._database.service).set(len(self._waiting))
        telemetry.logger(self._database.service).warning(
            "leaves not committed, trying again", extra={"leaves": len(self._waiting), "error": repr(error)}
        )
        await asyncio.sleep(0.2)
        self._some.set()
