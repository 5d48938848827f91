"""The clerical queue: who sees a pair, what a decision does, and what taking it back leaves."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from asyncpg import CheckViolationError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from joserfc.errors import JoseError

from services.identity import merging
from services.identity.merging import Decision
from services.identity.repository import people as sources
from services.identity.vault import vault_of
from services.kit.principals import unseal
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, Browser, citizen_number, exchanged, person
from tests.identity.test_clients import payload
from tests.identity.test_lookalikes import ZHANG, mrn, pushed
from tests.identity.test_resolve import resolve

NUMBER = citizen_number()
HANGZHOU = "330100"
REASON = {"reason": "the same address and the same telephone number"}
ALIKE: dict[str, Any] = ZHANG | {"phone": None, "name": "张炜明", "birth_date": "1985-03-15"}
"""Of a digit and a sound: for a clerk."""


@dataclass
class Clerks:
    """Two of them: what the first proposes, the second confirms."""

    first: httpx.AsyncClient
    second: httpx.AsyncClient

    @property
    def get(self) -> Any:
        return self.first.get

    async def post(self, path: str, json: dict[str, Any]) -> httpx.Response:
        answer = await self.first.post(path, json=json)
        proposed = answer.is_success and answer.json()["state"] == "proposed"
        return await self.second.post(path, json=json) if proposed else answer


async def clerk(identity: Identity, *areas: str, **who: Any) -> Clerks:
    return Clerks(
        await one_clerk(identity, *areas, **who), await one_clerk(identity, *areas, subject="clerk-2", **who)
    )


async def one_clerk(identity: Identity, *areas: str, **who: Any) -> httpx.AsyncClient:
    said: dict[str, Any] = {
        "kind": "staff",
        "subject": "clerk-1",
        "roles": ["identity_clerk"],
        "areas": areas or (HANGZHOU,),
        "scopes": "identity:matches:decide",
        "purpose": "registration",
    }
    return await identity.house.client("identity", **said | who)


async def pair_of(identity: Identity) -> tuple[str, str, str]:
    """Two people a clerk has to look at: their ids in health, and the pair's."""
    health = await identity.as_service("health")
    known = await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    found = await pushed(health, mrn(1), **ALIKE)
    assert found["outcome"] == "review", found
    [row] = await identity.rows("select id from match_review where state = 'open'")
    return known["sector_id"], found["sector_id"], str(row["id"])


async def translated(identity: Identity, *ids: str) -> list[str]:
    exchange = await identity.as_service("exchange")
    answer = await exchange.post(
        "/identity/translate", json={"from": "health", "to": "education", "ids": ids}
    )
    assert answer.status_code == 200, answer.text
    found: list[str] = answer.json()["ids"]
    return found


async def test_a_clerk_sees_both_sides_and_what_speaks_for_it(identity: Identity) -> None:
    *_, id = await pair_of(identity)
    http = await clerk(identity)
    [listed] = (await http.get("/identity/match-reviews")).json()["items"]
    assert listed == (await http.get(f"/identity/match-reviews/{id}")).json()
    assert {side["name"] for side in listed["sides"]} == {"张伟明", "张炜明"}
    shown = {one["system"]: one["value"] for side in listed["sides"] for one in side["identifiers"]}
    assert shown == {CITIZEN_NUMBER: f"3{'*' * 16}{NUMBER[-1]}", mrn(1)[0]: "*"}
    parts = {part["comparison"]: part for part in listed["parts"]}
    assert listed["weight"] == pytest.approx(
        listed["prior"] + sum(p["bits"] for p in parts.values()), abs=0.05
    )
    assert (parts["name"]["level"], parts["birth_date"]["level"]) == ("sound", "digit")
    assert all(
        part[word] for part in parts.values() for word in ("zh", "en", "comparison_zh", "comparison_en")
    )
    leaves = await identity.leaves("matches.read")
    assert [(leaf["actor"], leaf["purpose"], leaf["subjects_count"]) for leaf in leaves] == [
        ("clerk-1", "registration", 2)
    ] * 2


async def test_a_pair_outside_the_clerks_areas_is_not_there(identity: Identity) -> None:
    *_, id = await pair_of(identity)
    health = await identity.as_service("health")
    for areas in (("330200",), ("330106001",)):
        http = await clerk(identity, *areas)
        assert (await http.get("/identity/match-reviews")).json() == {"items": [], "next": None}
        assert (await http.get(f"/identity/match-reviews/{id}")).status_code == 404
        answer = await http.post(
            f"/identity/match-reviews/{id}/decision", json={"decision": "same", **REASON}
        )
        assert answer.status_code == 404
    # One side elsewhere is enough; one that does not say where is where the other is.
    await pushed(health, mrn(2), **ALIKE | {"area": "330203", "name": "张伟明"})
    mine = await clerk(identity)
    assert len((await mine.get("/identity/match-reviews")).json()["items"]) == 1
    await pushed(health, mrn(3), **ALIKE | {"area": None, "birth_date": "1985-03-14"})
    listed = (await mine.get("/identity/match-reviews")).json()["items"]
    assert [side["area"] for side in listed[-1]["sides"]].count(None) == 1
    country = await clerk(identity, "000000")
    assert len((await country.get("/identity/match-reviews")).json()["items"]) > 1
    refused = [leaf for leaf in await identity.leaves("match.decided") if leaf["outcome"] == "refused"]
    assert {leaf["reason"] for leaf in refused} == {"outside_area"}


@pytest.mark.parametrize(
    "who",
    [
        {"kind": "person", "roles": []},
        {"kind": "organisation", "roles": []},
        {"scopes": "audit:read"},
        {"roles": ["auditor"]},
        {"purpose": "statistics"},
    ],
)
async def test_nobody_else_sees_or_decides_anything(identity: Identity, who: dict[str, Any]) -> None:
    *_, id = await pair_of(identity)
    http = await clerk(identity, **who)
    asked = [
        await http.get("/identity/match-reviews"),
        await http.get(f"/identity/match-reviews/{id}"),
        await http.post(f"/identity/match-reviews/{id}/decision", json={"decision": "same", **REASON}),
        await http.post(f"/identity/match-reviews/{id}/unmerge", json=REASON),
        await http.post("/identity/merges", json={"person": "a", "other": "b", **REASON}),
    ]
    assert {answer.status_code for answer in asked} <= {403, 404}
    assert asked[0].status_code == 403
    assert await identity.rows("select state from match_review") == [{"state": "open"}]


async def test_same_makes_one_person_and_undoing_it_two_again(identity: Identity) -> None:
    known, found, id = await pair_of(identity)
    before = await translated(identity, known, found)
    assert before[0] != before[1]
    http = await clerk(identity)
    decided = await http.post(f"/identity/match-reviews/{id}/decision", json={"decision": "same", **REASON})
    assert (decided.status_code, decided.json()["state"]) == (200, "same"), decided.text
    assert await translated(identity, known, found) == [before[0], before[0]]
    health = await identity.as_service("health")
    assert (await pushed(health, mrn(1), **ALIKE))["sector_id"] == known
    again = await http.post(
        f"/identity/match-reviews/{id}/decision", json={"decision": "different", **REASON}
    )
    assert (again.status_code, again.json()["code"]) == (409, "already_decided")
    undone = await http.post(f"/identity/match-reviews/{id}/unmerge", json=REASON)
    assert (undone.status_code, undone.json()["state"]) == (200, "different"), undone.text
    assert await translated(identity, known, found) == before
    assert (await pushed(health, mrn(1), **ALIKE))["sector_id"] == found
    assert (await http.post(f"/identity/match-reviews/{id}/unmerge", json=REASON)).status_code == 409
    merged, unmerged = await identity.leaves("persons.merged"), await identity.leaves("persons.unmerged")
    done = [leaf for leaf in (*merged, *unmerged) if leaf["outcome"] == "permitted"]
    assert [(leaf["action"], leaf["subjects_count"]) for leaf in done] == [
        ("persons.merged", 2),
        ("persons.unmerged", 2),
    ]


async def test_the_models_own_decision_is_taken_back_like_a_clerks(identity: Identity) -> None:
    health = await identity.as_service("health")
    known = await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    assert (await pushed(health, mrn(1), **ZHANG))["sector_id"] == known["sector_id"]
    http = await clerk(identity)
    [pair] = (await http.get("/identity/match-reviews", params={"state": "same"})).json()["items"]
    assert pair["decided_by"] == "model cn_v1"
    assert (await http.post(f"/identity/match-reviews/{pair['id']}/unmerge", json=REASON)).status_code == 200
    assert (await pushed(health, mrn(1), **ZHANG))["sector_id"] != known["sector_id"]


async def test_each_sector_is_told_of_its_own_ids_alone(identity: Identity) -> None:
    known, found, id = await pair_of(identity)
    education = await identity.as_service("education")
    theirs = (await pushed(education, mrn(1)))["sector_id"]
    http = await clerk(identity)
    await http.post(f"/identity/match-reviews/{id}/decision", json={"decision": "same", **REASON})
    events = await identity.rows(
        "select body from outbox where type = 'identity.persons.merged' order by seq desc limit 2"
    )
    told = {event["body"]["sector"]: event["body"]["sealed"] for event in events}
    assert sorted(told) == ["education", "health"]
    secret = identity.house.settings.secret_for
    opened = {name: orjson.loads(unseal(sealed, secret(name, "seal"))) for name, sealed in told.items()}
    assert opened["health"] == {"ids": [found], "now": known}
    assert opened["education"]["ids"] == [theirs]
    with pytest.raises(JoseError):
        unseal(told["health"], secret("education", "seal"))


async def test_a_session_carries_the_ids_of_all_who_are_the_one_person(identity: Identity) -> None:
    """The eldest's is the one given out now; what was stored under the others' is this person's too."""
    health = await identity.as_service("health")
    elder = (await pushed(health, mrn(1), name="王芳"))["sector_id"]
    own = (await pushed(health, (CITIZEN_NUMBER, NUMBER), name="李静怡"))["sector_id"]
    one, two = await people(identity)
    await identity.account("li", identifier=NUMBER)
    session = (await Browser(identity.http, scope="me").session("li"))["access_token"]

    async def sealed(service: str) -> list[str]:
        answer = await exchanged(identity.http, identity.service("gateway"), session, service)
        sid = payload(answer.json()["access_token"])["sid"]
        return unseal(sid, identity.kit.settings.secret_for(service, "seal")).split()

    [theirs] = await sealed("education")
    assert await sealed("health") == [own]
    http = await clerk(identity, "000000")
    merged = await http.post("/identity/merges", json={"person": one, "other": two, **REASON})
    assert await sealed("health") == [elder, own]
    now, before = await sealed("education")
    assert before == theirs
    assert {now, before}.isdisjoint({elder, own})
    listed = await health.get("/identity/sector-ids/merged")
    assert listed.json() == {"items": [{"id": own, "now": elder}], "next": None}
    await http.post(f"/identity/match-reviews/{merged.json()['id']}/unmerge", json=REASON)
    assert await sealed("health") == [own]
    assert (await health.get("/identity/sector-ids/merged")).json()["items"] == []


async def test_one_clerk_alone_merges_nobody(identity: Identity) -> None:
    known, found, id = await pair_of(identity)
    before = await translated(identity, known, found)
    first, second = await one_clerk(identity), await one_clerk(identity, subject="clerk-2")
    same = {"decision": "same", **REASON}
    proposed = await first.post(f"/identity/match-reviews/{id}/decision", json=same)
    assert (proposed.json()["state"], proposed.json()["proposed_by"]) == ("proposed", "clerk-1")
    own = await first.post(f"/identity/match-reviews/{id}/decision", json=same)
    assert (own.status_code, own.json()["code"]) == (409, "own_proposal")
    one, two = (side["person"] for side in proposed.json()["sides"])
    again = await first.post("/identity/merges", json={"person": one, "other": two, **REASON})
    assert (again.status_code, again.json()["code"]) == (409, "own_proposal")
    assert await translated(identity, known, found) == before
    assert [pair["id"] for pair in await listed(second, "proposed")] == [id]
    # The other clerk may think otherwise; then it begins anew, and may be proposed by either.
    unsure = await second.post(
        f"/identity/match-reviews/{id}/decision", json={"decision": "unsure", **REASON}
    )
    assert (unsure.json()["state"], unsure.json()["proposed_by"]) == ("unsure", None)
    await second.post(f"/identity/match-reviews/{id}/decision", json=same)
    merged = await first.post(f"/identity/match-reviews/{id}/decision", json=same)
    assert (merged.json()["state"], merged.json()["proposed_by"], merged.json()["decided_by"]) == (
        "same", "clerk-2", "clerk-1",
    )  # fmt: skip
    assert await translated(identity, known, found) == [before[0]] * 2
    undone = await second.post(f"/identity/match-reviews/{id}/unmerge", json=REASON)
    assert undone.json()["state"] == "different"
    assert await translated(identity, known, found) == before


async def test_a_merge_by_one_clerk_does_not_even_fit_the_table(identity: Identity) -> None:
    *_, id = await pair_of(identity)
    http = await one_clerk(identity)
    await http.post(f"/identity/match-reviews/{id}/decision", json={"decision": "same", **REASON})
    with pytest.raises(CheckViolationError):
        async with vault_of(identity.kit).transaction() as tx:
            await tx.execute("update match_review set state = 'same'")


@pytest.mark.parametrize(
    ("rule", "sectors", "state"),
    [
        ("never", ["health"], "same"),
        ("sensitive", ["health"], "proposed"),
        ("sensitive", ["social_security"], "same"),
    ],
)
async def test_who_needs_two_clerks_is_data(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, rule: str, sectors: list[str], state: str
) -> None:
    monkeypatch.setattr(merging, "rules", lambda: {"two_clerks": rule, "sensitive_sectors": sectors})
    *_, id = await pair_of(identity)
    http = await one_clerk(identity)
    answer = await http.post(f"/identity/match-reviews/{id}/decision", json={"decision": "same", **REASON})
    assert answer.json()["state"] == state


async def listed(http: httpx.AsyncClient, state: str) -> list[dict[str, Any]]:
    answer = await http.get("/identity/match-reviews", params={"state": state, "limit": 100})
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_two_with_a_number_each_are_never_made_one(identity: Identity) -> None:
    *_, id = await pair_of(identity)
    health = await identity.as_service("health")
    other = citizen_number(date.fromisoformat(ALIKE["birth_date"]), 3)
    assert (await pushed(health, mrn(1), (CITIZEN_NUMBER, other)))["outcome"] == "matched"
    http = await clerk(identity)
    answer = await http.post(f"/identity/match-reviews/{id}/decision", json={"decision": "same", **REASON})
    assert (answer.status_code, answer.json()["code"]) == (409, "two_citizen_numbers")
    assert (await http.get("/identity/match-reviews")).json()["items"][0]["state"] == "open"


async def test_what_was_decided_different_is_not_joined_by_way_of_a_third(identity: Identity) -> None:
    health = await identity.as_service("health")
    for n, name in enumerate(("王芳", "李静怡", "赵国强"), 1):
        await pushed(health, mrn(n), name=name, area="330106", birth_date=f"19{n}2-01-0{n}")
    one, two, three = await people(identity)
    http = await clerk(identity)

    async def merge(person: str, other: str) -> httpx.Response:
        return await http.post("/identity/merges", json={"person": person, "other": other, **REASON})

    first = await merge(one, two)
    assert (first.status_code, first.json()["why"]) == (201, "clerk"), first.text
    await http.post(f"/identity/match-reviews/{first.json()['id']}/unmerge", json=REASON)
    assert (await merge(two, three)).status_code == 201
    barred = await merge(one, three)
    assert (barred.status_code, barred.json()["code"]) == (409, "decided_different")
    assert (await merge(one, two)).status_code == 201
    assert (await merge(one, one)).status_code == 404
    assert (await merge(one, "h1_AAAAAAAAAAAAAAAAAAAAAAAAAA")).status_code == 404


async def test_a_reason_is_needed_and_holds_no_number(identity: Identity) -> None:
    *_, id = await pair_of(identity)
    http = await clerk(identity)
    for reason, status in (("", 422), ("ok", 422), (f"has {NUMBER}", 422), ("x" * 1001, 422)):
        answer = await http.post(
            f"/identity/match-reviews/{id}/decision", json={"decision": "same", "reason": reason}
        )
        assert answer.status_code == status, answer.text
    unsure = await http.post(f"/identity/match-reviews/{id}/decision", json={"decision": "unsure", **REASON})
    assert unsure.json()["state"] == "unsure"
    assert (await http.get("/identity/match-reviews")).json()["items"] == []
    later = await http.post(
        f"/identity/match-reviews/{id}/decision", json={"decision": "different", **REASON}
    )
    assert later.json()["state"] == "different"


async def test_the_queue_is_paged_to_its_end(identity: Identity) -> None:
    health = await identity.as_service("health")
    await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    await resolve(health, *(person(str(n), mrn(n), **ALIKE | {"sex": None}) for n in range(5)))
    http = await clerk(identity)
    whole = (await http.get("/identity/match-reviews", params={"limit": 100})).json()["items"]
    seen: list[Any] = []
    after: dict[str, str] = {}
    while True:
        page = (await http.get("/identity/match-reviews", params={"limit": 2, **after})).json()
        seen += page["items"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == whole != []
    assert (await http.get("/identity/match-reviews", params={"after": "x"})).status_code == 400


async def test_the_log_of_decisions_cannot_be_rewritten(identity: Identity) -> None:
    *_, id = await pair_of(identity)
    http = await clerk(identity)
    await http.post(f"/identity/match-reviews/{id}/decision", json={"decision": "different", **REASON})
    for statement in ("update match_decision set decision = 'same'", "delete from match_decision"):
        with pytest.raises(Exception, match=r"append-only|permission denied"):
            async with vault_of(identity.kit).transaction() as tx:
                await tx.execute(statement)


async def people(identity: Identity) -> list[str]:
    """How the doors name every source, in the order they came."""
    register = identity.kit.parts["register"]
    rows = await identity.rows("select pid from person order by created_at, name")
    names = {register.sectors.id_of("identity", row["pid"]): row["pid"] for row in rows}
    async with vault_of(identity.kit).transaction() as tx:
        version = register.sectors.version("identity")
        await sources.remember_sector_ids(tx, "identity", version, list(names.items()))
    return list(names)


def components(everybody: Iterable[UUID], same: Iterable[tuple[UUID, UUID]]) -> set[frozenset[UUID]]:
    """Who is one person with whom, the naive way."""
    found = [{pid} for pid in everybody]
    for one, other in same:
        joined = [group for group in found if one in group or other in group]
        found = [group for group in found if group not in joined] + [set().union(*joined)]
    return {frozenset(group) for group in found}


async def test_whatever_is_pushed_merged_and_undone(identity: Identity) -> None:
    """Against a model: sources, and the pairs that hold; undoing one restores what was there before it."""
    loop = asyncio.get_running_loop()
    health, http = await identity.as_service("health"), await clerk(identity)
    names = st.sampled_from(["张伟明", "张炜明", "張偉明", "王芳"])
    births = st.sampled_from(["1985-03-14", "1985-03-15", "1985-04-13"])

    class Register(RuleBasedStateMachine):
        def run(self, work: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(work, loop).result(30)

        @initialize()
        def begin(self) -> None:
            self.pushes = 0
            self.run(self._emptied())

        async def _emptied(self) -> None:
            async with vault_of(identity.kit).transaction() as tx:
                await tx.execute("truncate person cascade")

        @rule(name=names, birth=births, phone=st.sampled_from([None, "13800001234"]))
        def push(self, name: str, birth: str, phone: str | None) -> None:
            self.pushes += 1
            said = {"name": name, "birth_date": birth, "area": "330106", "phone": phone}
            answer = self.run(pushed(health, mrn(self.pushes), **said))
            assert answer["outcome"] in {"created", "matched", "review"}

        @rule(data=st.data(), decision=st.sampled_from(["same", "different", "unsure"]))
        def decide(self, data: st.DataObject, decision: str) -> None:
            open_pairs = self.run(self._listed("open")) + self.run(self._listed("unsure"))
            if open_pairs:
                id = data.draw(st.sampled_from(open_pairs))["id"]
                said = {"decision": decision, **REASON}
                answer = self.run(http.post(f"/identity/match-reviews/{id}/decision", json=said))
                assert answer.status_code == 200 or answer.json()["code"] == "decided_different"

        @rule(data=st.data())
        def merge(self, data: st.DataObject) -> None:
            everybody = self.run(people(identity))
            if len(everybody) > 1:
                one, other = data.draw(st.permutations(everybody))[:2]
                before = self.run(self._roots())
                answer = self.run(
                    http.post("/identity/merges", json={"person": one, "other": other, **REASON})
                )
                if answer.status_code != 201:
                    assert answer.json()["code"] == "decided_different"
                    assert self.run(self._roots()) == before

        @rule(data=st.data())
        def undo(self, data: st.DataObject) -> None:
            same = self.run(self._listed("same"))
            if same:
                id = data.draw(st.sampled_from(same))["id"]
                undone = self.run(http.post(f"/identity/match-reviews/{id}/unmerge", json=REASON))
                assert undone.status_code == 200

        @rule(data=st.data())
        def merge_and_undo(self, data: st.DataObject) -> None:
            everybody = self.run(people(identity))
            if len(everybody) > 1:
                one, other = data.draw(st.permutations(everybody))[:2]
                before = self.run(self._roots()), self.run(self._ids())
                held = {pair["id"] for pair in self.run(self._listed("same"))}
                said = {"person": one, "other": other, **REASON}
                answer = self.run(http.post("/identity/merges", json=said))
                if answer.status_code == 201 and answer.json()["id"] not in held:
                    self.run(http.post(f"/identity/match-reviews/{answer.json()['id']}/unmerge", json=REASON))
                    assert (self.run(self._roots()), self.run(self._ids())) == before

        async def _listed(self, state: str) -> list[dict[str, Any]]:
            found = await http.get("/identity/match-reviews", params={"state": state, "limit": 100})
            items: list[dict[str, Any]] = found.json()["items"]
            return items

        async def _roots(self) -> dict[UUID, UUID]:
            rows = await identity.rows("select pid, coalesce(root, pid) as root from person")
            return {row["pid"]: row["root"] for row in rows}

        async def _ids(self) -> list[str]:
            found = await resolve(health, *(person(str(n), mrn(n)) for n in range(1, self.pushes + 1)))
            return [one["sector_id"] for one in found]

        @invariant()
        def one_source_one_person(self) -> None:
            self.run(self._checked())

        async def _checked(self) -> None:
            roots = await self._roots()
            async with vault_of(identity.kit).read() as db:
                links = await db.fetch("select pid from vault.link")
            assert len(links) == len({row["pid"] for row in links}) == len(roots) == self.pushes
            same = await identity.rows("select pid, other from match_review where state = 'same'")
            expected = components(roots, [(row["pid"], row["other"]) for row in same])
            groups: dict[UUID, set[UUID]] = {}
            for pid, root in roots.items():
                groups.setdefault(root, set()).add(pid)
            assert set(map(frozenset, groups.values())) == expected
            ids = await self._ids()
            assert len(set(ids)) == len(expected)
            ages = {
                r["pid"]: r["created_at"] for r in await identity.rows("select pid, created_at from person")
            }
            log = await identity.rows("select review, pid, other, decision from match_decision order by seq")
            assert merging.replayed(ages, [Decision(**entry) for entry in log]) == roots

    machine = settings(max_examples=12, stateful_step_count=12, deadline=None)
    await asyncio.to_thread(run_state_machine_as_test, Register, settings=machine)
