"""Pushes the whole city through the public doors, with its organisations' own credentials.

The population register goes first, then the scenic areas are set up; then schools, hospitals and offices push
side by side. Everything pushed twice counts once, so that a push that was cut short is simply started again.
"""

import asyncio
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import httpx

from city import doors
from city.build import SOCIAL_KINDS, dumped
from city.doors import Caller, Credentials, Json, Refused
from city.registry import REGISTERS, persons
from city.replay import Replay, set_up_sights
from city.roster import AGENCY, GATE, INSURER, REGISTRY, SITE
from city.simulation import City
from city.truth import Story, Truth, rosters, stories
from city.walkins import walk_ins

KINDS = ("people", *REGISTERS, "sites", "education", "social_security", "fhir", "walk_ins", "readings")
PEOPLE_A_CALL = 2_000
STORIES_A_CALL = 1_000
BUNDLES_AT_ONCE = 4
CALL_SECONDS = 180.0
REFUSALS_KEPT = 50
_AGENCY_KINDS, _INSURER_KINDS = ("contributions", "payments"), ("claims", "claim_lines")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one kind of push has come; `what` counts what was in it (patients, rows by file, ...)."""

    kind: str
    done: int
    total: int
    refused: int
    what: dict[str, int]


@dataclass(slots=True)
class Outcome:
    """What was pushed, by kind, and the first refusals in the doors' own words."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    refused: int = 0
    truth: dict[str, Any] | None = None
    replayed: dict[str, Any] | None = None


class Push:
    """One push of a city.

    Args:
        clients: the folder of key files, `<client name>.json`, of the city's roster.
        http: a client bound to the suite's address.
        progress: told of every step forward.
    """

    def __init__(
        self,
        city: City,
        clients: Path,
        http: httpx.AsyncClient,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.city, self.clients, self.http = city, clients, http
        self.outcome = Outcome()
        self._tell = progress or (lambda _: None)
        self._callers: dict[str, Caller] = {}
        self._refused: Counter[str] = Counter()

    async def run(self, only: Sequence[str] = KINDS) -> Outcome:
        if "people" in only:
            await self.people()
        for kind in REGISTERS:
            if kind in only:
                await self.register(kind)
        if "sites" in only:
            await self.sites()
        truth = Truth(self.city)
        together: list[Awaitable[None]] = []
        if "education" in only:
            together.append(self.education())
        if "social_security" in only:
            together.append(self.social_security())
        if "fhir" in only:
            together.append(self.fhir(truth))
        await asyncio.gather(*together)
        if "fhir" in only:
            self.outcome.truth = truth.document()
        if "walk_ins" in only:
            await self.walk_ins()
        if "readings" in only:
            await self.readings()
        return self.outcome

    def caller(self, name: str) -> Caller:
        if name not in self._callers:
            self._callers[name] = Caller(self.http, Credentials.read(self.clients / f"{name}.json"))
        return self._callers[name]

    async def people(self) -> None:
        caller, total = self.caller(REGISTRY), len(self.city.people)
        for chunk in chunks(persons(self.city), PEOPLE_A_CALL):
            _, answer = await self._try("people", doors.push_persons(caller, chunk))
            if answer is not None:
                problems = [one for one in answer["people"] if one["sector_id"] is None]
                self._note_refusals("people", [f"{one['outcome']}: {one.get('problem')}" for one in problems])
            self._step("people", len(chunk), total, {"people": len(chunk)})

    async def register(self, kind: str) -> None:
        caller, rows = self.caller(REGISTRY), list(REGISTERS[kind](self.city))
        for chunk in chunks(rows, PEOPLE_A_CALL) if rows else [rows]:
            await self._try(kind, doors.push_register(caller, kind, chunk))
            self._step(kind, len(chunk), len(rows), {kind: len(chunk)})

    async def sites(self) -> None:
        _, count = await self._try("sites", set_up_sights(self.caller(SITE)))
        self._step("sites", count or 0, count or 0, {"calls": count or 0})

    async def education(self) -> None:
        total = len(self.city.institutions.school_groups)
        for roster in rosters(self.city):
            archive = roster.zip()
            await self._try(
                "education", doors.push_roster(self.caller(roster.group.client), archive, key=_key(archive))
            )
            self._step("education", 1, total, {**roster.counts(), "pupils": len(roster.pupils)})

    async def social_security(self) -> None:
        """Two senders: the pension office has contributions and payments, the medical fund claims."""
        total = len(self.city.people)
        for chunk in chunks(stories(self.city), STORIES_A_CALL):
            for sender, kinds in ((AGENCY, _AGENCY_KINDS), (INSURER, _INSURER_KINDS)):
                tables = {kind: table(kind, chunk) for kind in kinds}
                key = _key(*tables.values())
                await self._try(
                    "social_security", doors.push_social_security(self.caller(sender), tables, key=key)
                )
            what = {kind: sum(len(getattr(story.social, kind)) for story in chunk) for kind in SOCIAL_KINDS}
            self._step("social_security", len(chunk), total, what)
            await asyncio.sleep(0)

    async def fhir(self, truth: Truth) -> None:
        """A few bundles under way at a time; the next story is made only when there is room for it."""
        room = asyncio.Semaphore(BUNDLES_AT_ONCE)

        async def send(story: Story) -> None:
            try:
                bundle = dumped(story.bundle).encode()
                caller = self.caller(self.city.alliance_of(story.person).client)
                taken, _ = await self._try("fhir", doors.push_bundle(caller, bundle, key=_key(bundle)))
                what = {"patients": 1, "resources": len(story.bundle["entry"])} if taken else {}
                self._step("fhir", 1, len(self.city.people), what)
            finally:
                room.release()

        async with asyncio.TaskGroup() as group:
            for story in stories(self.city):
                truth.add(story)
                await room.acquire()
                group.create_task(send(story))

    async def walk_ins(self) -> None:
        """After everybody is known: those the hospitals took in without papers."""
        found = list(walk_ins(self.city))
        for one in found:
            bundle = dumped(one.bundle).encode()
            taken, _ = await self._try(
                "walk_ins", doors.push_bundle(self.caller(one.client), bundle, key=_key(bundle))
            )
            self._step("walk_ins", 1, len(found), {"patients": int(taken)})

    async def readings(self) -> None:
        """The busiest day at the sights, all at once, as if it had just ended."""
        replay = Replay(
            self.caller(SITE), self.caller(GATE), seed=self.city.seed, memory=self.clients / ".gates"
        )
        self.outcome.replayed = await replay.all_at_once()
        sent = self.outcome.replayed["readings"]
        self._step("readings", sent, sent, {"readings": sent})

    async def _try(self, kind: str, call: Awaitable[T]) -> tuple[bool, T | None]:
        """Whether the door took it, and its answer; a refusal is noted, and the rest goes on."""
        try:
            return True, await call
        except Refused as refused:
            self._note_refusals(kind, [str(refused)])
            return False, None

    def _note_refusals(self, kind: str, words: list[str]) -> None:
        self._refused[kind] += len(words)
        self.outcome.refused += len(words)
        self.outcome.refusals += [f"{kind}: {word}" for word in words][
            : REFUSALS_KEPT - len(self.outcome.refusals)
        ]

    def _step(self, kind: str, count: int, total: int, what: dict[str, int]) -> None:
        counter = self.outcome.counts.setdefault(kind, Counter())
        counter["done"] += count
        for name, number in what.items():
            counter[name] += number
        known = {name: number for name, number in counter.items() if name != "done"}
        self._tell(Progress(kind, counter["done"], total, self._refused[kind], known))


async def push_city(
    city: City,
    *,
    base_url: str,
    clients: Path,
    only: Sequence[str] = KINDS,
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Pushes the city to the suite at `base_url`."""
    limits = httpx.Limits(max_connections=BUNDLES_AT_ONCE + 4)
    async with httpx.AsyncClient(
        base_url=base_url, timeout=CALL_SECONDS, limits=limits, trust_env=False
    ) as http:
        return await Push(city, clients, http, progress=progress).run(only)


def table(kind: str, chunk: Sequence[Story]) -> bytes:
    """The CSV file of one kind for these people."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(SOCIAL_KINDS[kind])
    for story in chunk:
        writer.writerows(getattr(story.social, kind))
    return out.getvalue().encode()


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _key(*parts: bytes) -> str:
    """An Idempotency-Key that follows from what is sent: the same push, the same key."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return f"city-{whole.hexdigest()[:32]}"


def words_of(progress: Progress) -> Json:
    """A progress as one JSON object, for whoever started the push as a process of its own."""
    return {
        "event": "progress",
        "kind": progress.kind,
        "done": progress.done,
        "total": progress.total,
        "refused": progress.refused,
        "what": progress.what,
    }
