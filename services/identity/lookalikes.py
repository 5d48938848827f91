"""Finding those a newcomer may be: candidates by shared keys, weighed by the model.

A batch costs one query for the candidates and one for what is known of them, however many people are in it;
what it weighs is bounded: `PER_KEY` of the known for a key and about as many of the batch, `PER_PUSH` for a
newcomer, those that share most keys.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.identity.known import Known
from services.identity.likeness import KEYS_VERSION, Lookalike, all_keys, judged
from services.identity.matching import Facts
from services.identity.repository import pairs
from services.identity.repository.pairs import KeyRow
from services.identity.vault import Vault
from services.kit.database import Connection

PER_KEY = 20
PER_PUSH = 20
LOCKS = 512
"""So many locks stand for all keys: a batch of thousands must not fill PostgreSQL's table of locks."""


class Lookalikes:
    """For a batch's newcomers, in the order they came: who they may be among the known and each other.

    Attributes:
        now: when the newcomers are made; after everybody they were compared with.
    """

    now: datetime

    def __init__(self, vault: Vault, known: Known) -> None:
        self._vault = vault
        self._known = known
        self._keys: dict[UUID, tuple[bytes, ...]] = {}
        self._found: defaultdict[UUID, list[Lookalike]] = defaultdict(list)

    def of(self, pid: UUID) -> list[Lookalike]:
        return self._found[pid]

    async def find(self, db: Connection, newcomers: Sequence[Facts], *, hold: bool = True) -> None:
        """
        Args:
            hold: they are to be kept, so that others alike wait until they are.
        """
        self._keys = await asyncio.to_thread(all_keys, newcomers, self._vault)
        asked = [
            (key, facts.citizen_hmac is not None) for facts in newcomers for key in self._keys[facts.pid]
        ]
        # Of two alike that come at the same moment, the second looks when the first is there to be found.
        if hold:
            await pairs.lock_keys(db, {int.from_bytes(key[:4]) % LOCKS for key, _ in asked})
        shared = defaultdict(list)
        for key, pid in await pairs.candidates(db, sorted(set(asked)), PER_KEY):
            shared[key].append(pid)
        await self._known.read(db, {pid for pids in shared.values() for pid in pids})
        compared = self._compared(newcomers, shared)
        population, self.now = await pairs.population(db, wanted=bool(compared))
        likenesses = await asyncio.to_thread(judged, compared, population) if compared else []
        for (newcomer, other), likeness in zip(compared, likenesses, strict=True):
            self._found[newcomer.pid].append(Lookalike(other.pid, likeness))

    def _compared(
        self, newcomers: Sequence[Facts], shared: dict[bytes, list[UUID]]
    ) -> list[tuple[Facts, Facts]]:
        """Each newcomer with the known and the earlier newcomers that share a key, most shared first."""
        found = []
        before: dict[UUID, Facts] = {}
        for facts in newcomers:
            common = Counter(pid for key in self._keys[facts.pid] for pid in dict.fromkeys(shared[key]))
            others = [before.get(pid) or self._known.facts[pid] for pid, _ in common.most_common()]
            alike = [other for other in others if not numbers_differ(facts, other)]
            found += [(facts, other) for other in alike[:PER_PUSH]]
            before[facts.pid] = facts
            for key in self._keys[facts.pid]:
                if len(shared[key]) < 2 * PER_KEY:
                    shared[key].append(facts.pid)
        return found

    async def keep(self, db: Connection, created: Sequence[Facts]) -> None:
        """Lets the newcomers that were made be found from now on."""
        numbered = {facts.pid: facts.citizen_hmac is not None for facts in created}
        rows = [KeyRow(key, pid, numbered[pid]) for pid in numbered for key in set(self._keys.get(pid, ()))]
        if rows:
            await pairs.add_keys(db, rows)

    async def keep_again(self, db: Connection, changed: Sequence[Facts]) -> None:
        """The same for known sources of which more is known now."""
        keys = await asyncio.to_thread(all_keys, changed, self._vault)
        await pairs.number_keys(db, [facts.pid for facts in changed if facts.citizen_hmac is not None])
        await pairs.add_further_keys(
            db, [KeyRow(key, f.pid, f.citizen_hmac is not None) for f in changed for key in set(keys[f.pid])]
        )


async def key_some(tx: Connection, vault: Vault, limit: int) -> int:
    """Gives keys to people kept before there were any; returns how many, 0 when all have some."""
    pids = await pairs.unkeyed(tx, limit)
    known = Known()
    await known.read(tx, pids)
    lookalikes = Lookalikes(vault, known)
    await lookalikes.keep_again(tx, [known.facts[pid] for pid in pids])
    await pairs.set_keyed(tx, pids, KEYS_VERSION)
    return len(pids)


def numbers_differ(one: Facts, other: Facts) -> bool:
    return None not in (one.citizen_hmac, other.citizen_hmac) and one.citizen_hmac != other.citizen_hmac
