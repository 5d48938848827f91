"""One tree over all access leaves: each service's leaves go into it within a second of their commit."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from services.audit import repository
from services.audit.heads import HeadSigner, SignedHead
from services.audit.repository import BEGINNING, HeadRow, SourceState
from services.audit.tree import Growing, leaf_hash
from services.kit import telemetry
from services.kit.alone import alone
from services.kit.app import Kit
from services.kit.database import Row, Transaction

POLL_S = 0.3
HEAD_EVERY_S = 1.0
LOOK_FOR_SOURCES_EVERY_S = 10.0
BATCH = 5_000
"""Of each source in one commit."""


async def sequence(kit: Kit) -> None:
    """Runs for as long as the service does; of several processes, one sequences at a time."""
    async with kit.db.session() as connection:
        await alone(connection, "huimin audit sequencer")
        sequencer = Sequencer(kit, connection)
        await sequencer.load()
        while True:
            began = time.monotonic()
            if not await sequencer.step():
                await asyncio.sleep(max(0.0, POLL_S - (time.monotonic() - began)))


class Sequencer:
    """The writing side of the log.

    Args:
        session: the one that holds the lock; leaves are read with it, so that losing it ends the work.
    """

    def __init__(self, kit: Kit, session: Any) -> None:
        self._database = kit.db
        self._session = session
        self._log = telemetry.logger(kit.name)
        self._signer = HeadSigner.of(kit.settings)
        self._tree = Growing()
        self._sources: dict[str, SourceState] = {}
        self._system = 0
        self._head_size = -1
        self._head_at = 0.0
        self._looked_at = 0.0

    async def load(self) -> None:
        """Takes up where the last one ended."""
        async with self._database.read() as connection:
            self._tree = await repository.right_edge(connection)
            self._system = await repository.cluster(connection)
            latest = await repository.latest_head(connection)
            self._sources = {state.name: state for state in await repository.sources(connection)}
        self._head_size = latest.size if latest else -1
        self._looked_at = 0.0

    async def step(self) -> int:
        """Puts what is new into the tree, signs a head if one is due; returns how many leaves that were."""
        if time.monotonic() - self._looked_at > LOOK_FOR_SOURCES_EVERY_S:
            await self._look_for_sources()
        states = list(self._sources.values())
        async with self._session.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await repository.current_snapshot(self._session)
            found = await repository.new_leaves(self._session, states, snapshot, BATCH)
        after = {state.name: _moved(state, snapshot, found[state.name]) for state in states}
        count = sum(len(rows) for rows in found.values())
        head_due = time.monotonic() - self._head_at >= HEAD_EVERY_S
        if count or (head_due and self._tree.size != self._head_size):
            await self._keep(found, after, head_due=head_due)
        self._sources |= after
        return count

    async def _keep(
        self, found: dict[str, list[Row]], after: dict[str, SourceState], *, head_due: bool
    ) -> None:
        try:
            async with self._database.transaction() as tx:
                await self._append(tx, found)
                await repository.keep_sources(tx, [after[name] for name, rows in found.items() if rows])
                if head_due and self._tree.size != self._head_size:
                    await self._sign(tx)
        except BaseException:
            await asyncio.shield(self.load())  # what stands in memory was not kept
            raise

    async def _append(self, tx: Transaction, found: dict[str, list[Row]]) -> None:
        for source, rows in found.items():
            if rows := await repository.not_in_tree(tx, source, rows) if rows else []:
                entries = [(source, row["seq"], self._hash(source, row), row["at"]) for row in rows]
                first = self._tree.size
                changed = self._tree.append([entry[2] for entry in entries])
                await repository.append(tx, first, entries, changed)

    def _hash(self, source: str, row: Row) -> bytes:
        found = leaf_hash(row["body"].encode())
        if found != row["hash"]:
            self._log.error("a leaf was altered before its turn", extra={"source": source, "seq": row["seq"]})
        return found

    async def _sign(self, tx: Transaction) -> None:
        previous = self._head_size if self._head_size >= 0 else None
        head = SignedHead(self._signer.log, self._tree.size, self._tree.root(), datetime.now(UTC), previous)
        await repository.keep_head(tx, HeadRow(head.size, head.root, head.at, self._signer.sign(head)))
        self._head_size = self._tree.size
        self._head_at = time.monotonic()

    async def _look_for_sources(self) -> None:
        """Services come with their schemas; one that can no longer be read is an alarm."""
        async with self._database.read() as connection:
            names = await repository.leaf_tables(connection)
        for name in self._sources.keys() - set(names):
            self._log.error("the leaves of a service cannot be read any more", extra={"source": name})
            del self._sources[name]
        for name in set(names) - self._sources.keys():
            self._sources[name] = SourceState(name, self._system, BEGINNING)
        for state in list(self._sources.values()):
            if state.system != self._system:
                await self._take_over(state)
        self._looked_at = time.monotonic()

    async def _take_over(self, state: SourceState) -> None:
        """After a move to another cluster, whose transaction numbers begin anew: by seq, this once."""
        self._log.warning("leaves came from another database cluster", extra={"source": state.name})
        after = 0
        async with self._database.read() as then:  # one snapshot for all of it
            moved = SourceState(state.name, self._system, await repository.current_snapshot(then))
            while rows := await repository.unsequenced(then, state.name, after=after, limit=BATCH):
                await self._keep({state.name: rows}, {state.name: state}, head_due=False)
                after = rows[-1]["seq"]
        async with self._database.transaction() as tx:
            await repository.keep_sources(tx, [moved])
        self._sources[state.name] = moved


def _moved(state: SourceState, snapshot: str, rows: Sequence[Row]) -> SourceState:
    target = state.target or snapshot
    if len(rows) < BATCH:
        return SourceState(state.name, state.system, done=target)
    last: Any = rows[-1]
    return SourceState(state.name, state.system, state.done, target, last["xid"], last["seq"])
