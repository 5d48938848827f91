"""`./run demo`: the suite, filled by a simulated city, with something to look at from the first minute.

registers   clients, organisations, accounts
usages      a hospital, an auditor and a stranger at one citizen's data
duty        who is told of a crowd, and who after them
city        the city's own process, pushing through the public doors
asking      the gateway, as an app asks it
checks      `--check`: what held, step by step
screen      progress and lines in the terminal
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any

from services.kit.waking import stopped
from services.stack.clients import calls_as_stack
from services.stack.demo.asking import Gateway, words_of
from services.stack.demo.checks import CheckTable, check_city
from services.stack.demo.city import FIRST, REST, City
from services.stack.demo.duty import PACE, keep_roster
from services.stack.demo.registers import PASSWORD, audit_benefits, open_accounts, register_city
from services.stack.demo.screen import Screen
from services.stack.demo.usages import CITIZEN, make_accesses
from services.stack.home import ROOT, Home
from services.stack.suite import Options, running
from services.stack.supervisor import Interrupted, Supervisor
from services.stack.terminal import Refusal

READY_QUERY = ROOT / "gateway" / "pages" / "start" / "queries" / "ready" / "1_me.graphql"
WARNINGS = """\
subscription CrowdWarnings($after: String) {
  crowdWarnings(after: $after) { cursor happened at level zoneId zoneNameZh zoneNameEn people capacity }
}"""
CITIZENS = ("student", "parent", "pensioner")
"""In this order: the first whom the city has is the one that is shown."""


@dataclass(frozen=True)
class Plan:
    """What the demo is to do.

    Attributes:
        speed: how many times as fast the day at the gates is replayed.
    """

    people: int = 2000
    speed: float = 600.0
    seed: int = 1
    check: bool = False


@dataclass
class Demo:
    """One demo on one running suite."""

    home: Home
    plan: Plan
    address: str
    screen: Screen
    started: float

    def __post_init__(self) -> None:
        self.city = City(self.home, self.address, self.plan.people, self.plan.seed)
        self.gateway = Gateway(self.address, PASSWORD)
        self.accounts: list[dict[str, Any]] = []
        self.clients: list[dict[str, Any]] = []
        self.duty_roster: dict[str, Any] = {}
        self.totals: dict[str, Any] = {}
        self.refused: list[str] = []
        self.replayed_before = False

    async def prepare(self) -> None:
        """Clients, the city's people, its sights, the accounts: what every answer needs."""
        roster = await self.city.roster()
        async with calls_as_stack(self.home, self.address) as calls:
            clients = await register_city(calls, self.home, roster)
            self.clients = roster["clients"]
            self.screen.line(
                f"  ✓ 已登记 {clients} 个机构客户端 · clients registered, keys in {self.home.clients}"
            )
            await self.push(*FIRST)
            self.accounts = await open_accounts(calls, roster)
        [self.duty_roster] = roster["duty_rosters"]

    async def push(self, *kinds: str) -> None:
        """Raises Refusal when the city could not push, or a door refused something."""
        async for report in self.city.push(*kinds):
            if report.get("event") == "progress":
                self.screen.report(report)
            else:
                self.totals |= report.get("counts", {})
                self.refused += report.get("refusals", [])
                self.replayed_before = bool((report.get("replayed") or {}).get("skipped"))
                for refusal in report.get("refusals", [])[:5]:
                    self.screen.line(f"  ✗ {refusal}")

    @property
    def citizen(self) -> str:
        there = {account["username"] for account in self.accounts}
        return next(name for name in CITIZENS if name in there)

    async def show_door(self) -> None:
        """Where to look, who may sign in, and a first query with its answer."""
        line = self.screen.line
        line()
        line(f"  首页 start page        {self.address}/")
        line(f"  我的数据 my data       {self.address}/me   ({self.citizen})")
        line(f"  查询 ready queries     {self.address}/graphql")
        line(f"  演示账号 accounts      密码 password: {PASSWORD}")
        for account in self.accounts:
            title = account["title"]
            line(f"      {account['username']:12} {title['zh']} · {title['en']}")
        await self.show_answer()

    async def show_answer(self) -> None:
        """The ready query as the demo's citizen."""
        query = READY_QUERY.read_text()
        began = time.monotonic()
        answer = await self.gateway.ask(query, as_=self.citizen)
        line, took = self.screen.line, time.monotonic() - began
        line(f"\n  {self.citizen} 的查询 · as {self.citizen}:\n")
        line(_indented(query.strip(), 4))
        since = time.monotonic() - self.started
        line(f"\n  回答 answer ({took * 1000:.0f} ms; 启动后 {since:.0f} s after start):\n")
        line(_indented(json.dumps(answer.get("data"), ensure_ascii=False, indent=1), 4))
        if answer.get("errors"):
            line(f"    errors: {words_of(answer['errors'])}")

    async def fill(self) -> None:
        """The rest of the city, behind what is shown already."""
        began = time.monotonic()
        await keep_roster(self, self.duty_roster)
        await self.push(*REST)
        line = self.screen.line
        line(f"\n  ✓ 城市已就绪 · the city is filled  {time.monotonic() - began:.0f} s")
        for kind, counts in self.totals.items():
            told = ", ".join(f"{name} {number:,}" for name, number in counts.items() if name != "done")
            line(f"      {kind:16} {told}")
        ran, told = await self.audit()
        line(f"  {'✓' if ran else '✗'} 待遇稽核 benefit audit {told}")
        if await make_accesses(self) is not None:
            line(f"  ✓ {CITIZEN} 的数据被使用了三次 · three accesses to {CITIZEN}'s data: {self.address}/me")
        await self.show_answer()
        line("\n  Ctrl-C 停止 · stops everything\n")

    async def audit(self) -> tuple[bool, str]:
        """The benefit audit over what was pushed: whether every rule ran, and what it found."""
        began = time.monotonic()
        async with calls_as_stack(self.home, self.address) as calls:
            run = await audit_benefits(calls)
        rules = [f"{one['rule']} {one.get('found', one.get('reason'))}" for one in run["outcomes"]]
        ran = run["status"] == "finished" and all(one["outcome"] == "run" for one in run["outcomes"])
        return ran, f"{run['status']}: {', '.join(rules)}; {time.monotonic() - began:.1f} s"

    async def replay(self) -> None:
        async for report in self.city.replay(self.plan.speed):
            if report.get("event") == "progress":
                self.screen.report(report)

    async def watch(self) -> None:
        """Warnings as they are raised."""
        async for event in self.gateway.subscribe(WARNINGS, "crowdWarnings"):
            self.screen.line(
                f"  ⚠ {event['level']:7} {event['happened']:12} {event['zoneNameZh']} {event['zoneNameEn']}"
                f"  {event['people']:,} / {event['capacity']:,}"
            )


async def run_demo(home: Home, plan: Plan) -> int:
    """Until Ctrl-C; with `check`, until everything is checked: 0 only if all of it held."""
    began = time.monotonic()
    os.environ.setdefault("HUIMIN_ESCALATION_PACE", str(PACE))
    options = Options(demo=True)
    try:
        async with running(home, options) as supervisor:
            with Screen() as screen:
                demo = Demo(home, plan, options.public_url, screen, began)
                return await _until_stopped(supervisor, _check(demo) if plan.check else _show(demo))
    except Interrupted:
        return 130


async def _show(demo: Demo) -> int:
    await demo.prepare()
    await demo.show_door()
    async with _aside(demo.watch()):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(demo.fill())
                group.create_task(demo.replay())
        except* Refusal as refusals:
            for refusal in refusals.exceptions:
                demo.screen.line(f"  ✗ {refusal}")
        await asyncio.Event().wait()  # until Ctrl-C
    return 0


async def _check(demo: Demo) -> int:
    table = CheckTable()
    await demo.prepare()
    await demo.gateway.ask(READY_QUERY.read_text(), as_=demo.citizen)
    table.first_answer_s = time.monotonic() - demo.started
    await keep_roster(demo, demo.duty_roster)
    events: list[dict[str, Any]] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async for event in demo.gateway.subscribe(WARNINGS, "crowdWarnings", listening):
            events.append(event)

    async with _aside(listen()):
        await asyncio.wait_for(listening.wait(), 30.0)
        await demo.push(*REST, "readings")
        await check_city(demo, table, events)
    table.seconds = time.monotonic() - demo.started
    demo.screen.console.print(table.drawn())
    demo.screen.line(table.verdict)
    return 0 if table.all_held else 1


async def _until_stopped(supervisor: Supervisor, work: Awaitable[int]) -> int:
    """The work's result, or 0 when the person has seen enough."""
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(supervisor.stopping.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        return task.result()
    await stopped(task)
    return 0


@contextlib.asynccontextmanager
async def _aside(work: Awaitable[None]) -> AsyncIterator[None]:
    """Work that goes on beside the block and ends with it."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        await stopped(task)


def _indented(text: str, columns: int) -> str:
    return "\n".join(" " * columns + line for line in text.splitlines())
