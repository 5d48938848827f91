"""`./run demo --check`: each step's outcome, asked of the gateway, compared with the city's truth file."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from rich.table import Table

from services.stack.clients import ClientFile
from services.stack.demo.asking import words_of
from services.stack.demo.duty import climbs_and_stops
from services.stack.demo.usages import CITIZEN, DATA_USAGE, make_accesses
from services.stack.home import ROOT, Home
from services.stack.program import python_environment
from services.stack.status import tree_memory_mb
from services.stack.terminal import Refusal

if TYPE_CHECKING:
    from services.stack.demo import Demo

T = TypeVar("T")

EVENTUALLY_S = 60.0
FIRST_ANSWER_S = 60.0
WHOLE_S = 240.0
SUITE = "{ suite { name ready detail counts { name value } } }"
ME = """\
{ me { name birthDate area { code }
  health { timeline(first: 3) { nodes { id type } } }
  learning { stage school { name } }
  socialSecurity { payments(first: 1) { nodes { paymentId } } claims(first: 1) { nodes { claimId } } }
  nearbyZones(first: 1) { nodes { id } } } }"""
FINDINGS = """\
query Findings($after: String) { findings(first: 100, after: $after) {
  nodes { rule evidence { kind key } } pageInfo { endCursor hasNextPage } } }"""
ZONE_WARNINGS = """\
{ zones(first: 100) { nodes { id warnings(first: 100) { nodes { level episode } } } } }"""


@dataclass(frozen=True)
class Line:
    name_zh: str
    name_en: str
    held: bool
    detail: str


@dataclass
class CheckTable:
    """What held and what did not."""

    lines: list[Line] = field(default_factory=list)
    first_answer_s: float = 0.0
    seconds: float = 0.0

    def add(self, name_zh: str, name_en: str, held: bool, detail: str) -> None:
        self.lines.append(Line(name_zh, name_en, held, detail))

    async def check(self, name_zh: str, name_en: str, work: Awaitable[tuple[bool, str]]) -> None:
        """One check; whatever it stumbles over is its own failure, and the next one still runs."""
        try:
            held, detail = await work
        except (Refusal, httpx.HTTPError, KeyError, TypeError, ValueError, OSError) as error:
            held, detail = False, f"{type(error).__name__}: {error}"[:200]
        self.add(name_zh, name_en, held, detail)

    @property
    def all_held(self) -> bool:
        return all(line.held for line in self.lines)

    @property
    def verdict(self) -> str:
        failed = sum(not line.held for line in self.lines)
        words = "全部成立 · all held" if not failed else f"{failed} 项不成立 · {failed} did not hold"
        return f"  {len(self.lines)} 项 checks, {words}, {self.seconds:.0f} s"

    def drawn(self) -> Table:
        table = Table("", "检查 check", "结果 outcome", title="./run demo --check")
        for line in self.lines:
            mark = "[green]✓[/green]" if line.held else "[red]✗[/red]"
            table.add_row(mark, f"{line.name_zh} · {line.name_en}", line.detail.replace("[", r"\["))
        return table


async def check_city(demo: "Demo", table: CheckTable, events: list[dict[str, Any]]) -> None:
    """Every check, in the order of the journey."""
    truth = await asyncio.to_thread(lambda: json.loads(demo.city.truth_file.read_text()))
    facts = Facts(demo, truth, events)
    table.add(
        "首次查询",
        "first answer within 60 s",
        table.first_answer_s < FIRST_ANSWER_S,
        f"{table.first_answer_s:.1f} s after start",
    )
    for name_zh, name_en, work in (
        ("服务就绪", "every service is ready", facts.services),
        ("首页", "the start page opens", facts.start_page),
        ("推送", "nothing the city pushed was refused", facts.refusals),
        ("数量", "counts are those of the city", facts.counts),
        ("本人记录", "one query answers from four domains", facts.own_record),
        ("监护", "a parent sees whom they stand for", facts.guardian),
        ("稽核运行", "the benefit audit ran", demo.audit),
        ("稽核", "planted cases found, near misses not", facts.findings),
        ("数据使用", "a citizen sees who read their data, and why", facts.usages),
        ("预警", "warnings are those of the reference", facts.warnings),
        ("实时", "a subscriber got each of them once", facts.live),
        ("值班", "an unacknowledged warning climbs, and stops when it is taken in hand", facts.duty),
        ("拒绝", "who may not see is refused", facts.denials),
        ("令牌", "a token for another audience is refused", facts.audience),
        ("访问日志", "the access log verifies", facts.access_log),
        ("内存", "memory of the whole tree", facts.memory),
    ):
        await table.check(name_zh, name_en, work())
    elapsed = time.monotonic() - demo.started
    table.add("用时", "within 4 minutes", elapsed < WHOLE_S, f"{elapsed:.0f} s, {os.cpu_count()} cores")


@dataclass
class Facts:
    """The checks themselves; each gives whether it held and what was seen."""

    demo: "Demo"
    truth: dict[str, Any]
    events: list[dict[str, Any]]

    async def data(self, query: str, as_: str | None = None, **variables: Any) -> dict[str, Any]:
        """An answer's data. Raises ValueError when it has errors."""
        answer = await self.demo.gateway.ask(query, variables, as_=as_)
        if answer.get("errors"):
            raise ValueError(words_of(answer["errors"]))
        found: dict[str, Any] = answer["data"]
        return found

    async def services(self) -> tuple[bool, str]:
        states = (await self.data(SUITE))["suite"]
        missing = [f"{state['name']}: {state['detail']}" for state in states if not state["ready"]]
        return not missing, ", ".join(missing) or f"{len(states)} + gateway"

    async def start_page(self) -> tuple[bool, str]:
        async with httpx.AsyncClient(timeout=20.0, trust_env=False) as http:
            answer = await http.get(f"{self.demo.address}/")
        good = answer.status_code == 200 and "惠民" in answer.text
        return good, f"{answer.status_code}, {len(answer.content):,} bytes"

    async def refusals(self) -> tuple[bool, str]:
        return not self.demo.refused, self.demo.refused[0] if self.demo.refused else self._pushed()

    def _pushed(self) -> str:
        fhir = self.demo.totals.get("fhir", {})
        return f"{fhir.get('patients', 0):,} patients, {fhir.get('resources', 0):,} resources"

    async def counts(self) -> tuple[bool, str]:
        """At least the city's: somebody may have loaded more into the same home."""
        counted = self.truth["counts"]
        expected = {
            ("health", "patients"): counted["fhir"]["stored"]["Patient"],
            ("health", "resources"): sum(counted["fhir"]["stored"].values()),
            **{("social_security", kind): number for kind, number in counted["social_security"].items()},
            ("transport", "readings"): counted["readings"],
        }
        states = (await self.data(SUITE))["suite"]
        found = {(s["name"], c["name"]): c["value"] for s in states for c in s["counts"]}
        short = {key: found.get(key, 0) for key, number in expected.items() if found.get(key, 0) < number}
        if short:
            told = (f"{'.'.join(key)} {number:,} of {expected[key]:,}" for key, number in short.items())
            return False, "; ".join(told)
        return True, ", ".join(f"{name} {number:,}" for (_, name), number in expected.items())

    async def own_record(self) -> tuple[bool, str]:
        me = (await self.data(ME, self.demo.citizen))["me"]
        parts = {
            "health": bool(me["health"]["timeline"]["nodes"]),
            "learning": self.demo.citizen != "student" or bool(me["learning"] and me["learning"]["stage"]),
            "socialSecurity": bool(me["socialSecurity"]),
            "nearbyZones": me["nearbyZones"] is not None,
        }
        missing = [name for name, there in parts.items() if not there]
        return (
            not missing,
            f"missing: {', '.join(missing)}" if missing else f"{self.demo.citizen}: {', '.join(parts)}",
        )

    async def guardian(self) -> tuple[bool, str]:
        if not any(account["username"] == "parent" for account in self.demo.accounts):
            return True, "this city's student has no living parent"
        wards = (await self.data("{ me { guardianOf { name until } } }", "parent"))["me"]["guardianOf"]
        return bool(wards), f"{len(wards)} wards"

    async def findings(self) -> tuple[bool, str]:
        """The rules run after the push; they may take a moment."""
        expected = {_key(one["rule"], one["evidence"]) for one in self.truth["findings"]}
        spared = {row for miss in self.truth["near_misses"] for row in miss["rows"]}
        guilty = {row for one in self.truth["findings"] for row in one["evidence"]}
        found = await _eventually(self._found, lambda now: expected <= now)
        wrong = [key for key in found if not set(key[1]).isdisjoint(spared - guilty)]
        missed = len(expected - found)
        detail = f"{len(expected) - missed} of {len(expected)} expected, {len(wrong)} near misses"
        return not missed and not wrong, detail

    async def _found(self) -> set[tuple[str, tuple[str, ...]]]:
        found, after = set(), None
        while True:
            page = (await self.data(FINDINGS, "auditor", after=after))["findings"]
            for node in page["nodes"]:
                found.add(_key(node["rule"], [f"{one['kind']} {one['key']}" for one in node["evidence"]]))
            if not page["pageInfo"]["hasNextPage"]:
                return found
            after = page["pageInfo"]["endCursor"]

    async def usages(self) -> tuple[bool, str]:
        """The hospital's access, the auditor's and the refused one, each with its reason in two languages."""
        made = await make_accesses(self.demo)
        if made is None:
            return True, "this city has nobody with an audit finding"

        async def listed() -> list[dict[str, Any]]:
            found = (await self.data(DATA_USAGE, CITIZEN))["me"]["dataUsage"]["nodes"]
            return [made.shown(found, kind) for kind in made.kinds]

        found = await _eventually(listed, all)
        missing = [kind for kind, node in zip(made.kinds, found, strict=True) if not node]
        told = "; ".join(f"{node['organisationZh']}: {node['reasonZh']}" for node in found if node)
        return not missing, f"not shown: {', '.join(missing)}" if missing else told

    def _expected_levels(self) -> dict[str, set[str]]:
        zones = self.truth["warnings"]["zones"]
        return {
            zone: {step["level"].upper() for step in found["steps"] if step["kind"] != "ended"}
            for zone, found in zones.items()
        }

    async def warnings(self) -> tuple[bool, str]:
        expected = self._expected_levels()

        async def levels() -> dict[str, set[str]]:
            nodes = (await self.data(ZONE_WARNINGS))["zones"]["nodes"]
            return {node["id"]: {one["level"] for one in node["warnings"]["nodes"]} for node in nodes}

        found = await _eventually(levels, lambda now: all(now.get(z) == want for z, want in expected.items()))
        wrong = [zone for zone, want in expected.items() if found.get(zone) != want]
        told = ", ".join(f"{zone} {'/'.join(sorted(expected[zone])) or '–'}" for zone in expected)
        return not wrong, f"differs: {', '.join(wrong)}" if wrong else told

    async def live(self) -> tuple[bool, str]:
        """Each step of each episode came over the socket, in order, and none twice."""
        if self.demo.replayed_before:
            return True, "the gates had reported this day before"
        expected = {
            zone: [(step["kind"].upper(), step["level"].upper()) for step in found["steps"]]
            for zone, found in self.truth["warnings"]["zones"].items()
        }

        async def told() -> dict[str, list[tuple[str, str]]]:
            found: dict[str, list[tuple[str, str]]] = {zone: [] for zone in expected}
            for event in self.events:
                found.setdefault(event["zoneId"], []).append((event["happened"], event["level"]))
            return found

        got = await _eventually(told, lambda now: now == expected)
        wrong = [zone for zone in expected if got[zone] != expected[zone]]
        cursors = [event["cursor"] for event in self.events]
        twice = len(cursors) - len(set(cursors))
        detail = f"differs: {', '.join(wrong)}" if wrong else f"{len(cursors)} messages"
        return not wrong and not twice, detail

    async def duty(self) -> tuple[bool, str]:
        return await climbs_and_stops(self.demo, self.demo.duty_roster)

    async def denials(self) -> tuple[bool, str]:
        nobody = await self.demo.gateway.ask("{ findings(first: 1) { nodes { rule } } }")
        citizen = await self.demo.gateway.ask(
            "{ findings(first: 1) { nodes { rule } } }", as_=self.demo.citizen
        )
        codes = [_code(nobody), _code(citizen)]
        return codes == ["UNAUTHENTICATED", "FORBIDDEN"], f"nobody: {codes[0]}, citizen: {codes[1]}"

    async def audience(self) -> tuple[bool, str]:
        home: Home = self.demo.home
        gate = await ClientFile.read(home.clients / "gates.json").token(address=self.demo.address)
        async with httpx.AsyncClient(timeout=20.0, trust_env=False) as http:
            answer = await http.post(
                f"{self.demo.address}/fhir",
                content=b"{}",
                headers={"authorization": f"Bearer {gate}", "content-type": "application/fhir+json"},
            )
        return answer.status_code == 401, f"a gate's token at /fhir: {answer.status_code}"

    async def access_log(self) -> tuple[bool, str]:
        """As an auditor would: `./run verify`, over the running suite."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "services.audit.verify"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            env=python_environment(HUIMIN_HOME=str(self.demo.home.path)),
        )
        output, _ = await asyncio.wait_for(process.communicate(), EVENTUALLY_S)
        lines = output.decode(errors="replace").splitlines()
        return process.returncode == 0, lines[0] if lines else "no output"

    async def memory(self) -> tuple[bool, str]:
        total = await asyncio.to_thread(tree_memory_mb, os.getpid())
        return True, f"{total:.0f} MB PSS just after the load, the city included"


def _key(rule: str, evidence: list[str]) -> tuple[str, tuple[str, ...]]:
    return rule, tuple(sorted(evidence))


def _code(answer: dict[str, Any]) -> str:
    errors = answer.get("errors") or [{}]
    return str((errors[0].get("extensions") or {}).get("code", "no error"))


async def _eventually(read: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> T:
    """What is read once it is good; what it was last when it never gets so."""
    until = time.monotonic() + EVENTUALLY_S
    while True:
        found = await read()
        if good(found) or time.monotonic() > until:
            return found
        await asyncio.sleep(0.5)
