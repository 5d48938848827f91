"""The real push, into the real suite: what the city knows about itself is what the suite finds out."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import city
from city.simulation import City
from city.truth import compute
from services.stack.clients import calls_as_stack, register
from services.stack.home import ROOT
from tests.city.dumps import Dump, attack, dump, joined, rows_of, settings_of
from tests.support.suite import Suite, in_thread, running_suite

PEOPLE, SEED = 200, 3
RUN_S = 90.0


@dataclass(frozen=True)
class Pushed:
    suite: Suite
    clients: Path
    roster: city.Roster
    truth: dict[str, Any]
    done: dict[str, Any]

    def organisation(self, client: str) -> str:
        return next(one.organisation for one in self.roster.clients if one.name == client)


def push(suite: Suite, clients: Path, *more: str) -> dict[str, Any]:
    """The last line of `python -m city push`, run as whoever demonstrates the suite runs it."""
    command = [
        sys.executable,
        "-m",
        "city",
        "push",
        "--progress-json",
        f"--people={PEOPLE}",
        f"--seed={SEED}",
    ]
    command += [f"--base-url={suite.base_url}", f"--clients={clients}", *more]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr + ran.stdout[-2000:]
    return dict(json.loads(ran.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    """One of its own: what is compared here is all that is in it."""
    folder = public_folders / "city"
    folder.mkdir()
    with running_suite(folder) as found:
        yield found


@pytest.fixture(scope="module")
def pushed(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    clients = tmp_path_factory.mktemp("clients")
    roster = city.roster(PEOPLE, SEED)

    async def stand() -> None:
        async with calls_as_stack(suite.home, suite.base_url) as calls:
            for what in ("places", "organisations"):
                await calls.request(
                    "identity", "POST", f"/identity/{what}", json={what: getattr(roster, what)}
                )
            for one in roster.clients:
                await register(
                    calls, clients, kind=one.kind, name=one.name, organisation=one.organisation, area=one.area
                )

    in_thread(stand)
    done = push(suite, clients)
    for account in roster.accounts:
        known: dict[str, Any] = {"roles": account.roles, "areas": account.areas}
        known |= {"organisation": account.organisation, "identifier": account.identifier}
        suite.account(f"city-{account.username}", kind=account.kind, **{k: v for k, v in known.items() if v})
    return Pushed(suite, clients, roster, compute(City(people=PEOPLE, seed=SEED)), done)


def test_every_door_takes_everything(pushed: Pushed) -> None:
    counts, truth = pushed.done["counts"], pushed.truth["counts"]
    assert (pushed.done["refused"], pushed.done["refusals"]) == (0, [])
    assert counts["fhir"]["patients"] == PEOPLE
    assert counts["fhir"]["resources"] == truth["fhir"]["entries"]
    assert counts["readings"]["readings"] == truth["readings"]
    assert {kind: counts["social_security"][kind] for kind in truth["social_security"]} == truth[
        "social_security"
    ]


def test_a_second_push_changes_nothing(pushed: Pushed) -> None:
    again = push(pushed.suite, pushed.clients)
    assert again["refused"] == 0
    assert again["replayed"]["skipped"]


async def findings_of(pushed: Pushed) -> list[dict[str, Any]]:
    query = """query ($after: String) { findings(first: 100, after: $after, status: OPEN) {
        nodes { rule form amountAtRisk currency evidence { kind organisation key } }
        pageInfo { endCursor hasNextPage } } }"""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        answer = pushed.suite.graphql(query, {"after": after}, as_="city-auditor")
        assert "errors" not in answer, answer
        page = answer["data"]["findings"]
        found += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


async def test_the_benefit_audit_finds_what_the_oracle_finds(pushed: Pushed) -> None:
    """Every planted case and every other, none of the near misses: rule, form, rows and amounts."""
    run = pushed.suite.as_stack("POST", "social_security", "/social-security/audit-runs", {})
    until = time.monotonic() + RUN_S
    while run["status"] in ("queued", "running") and time.monotonic() < until:
        await asyncio.sleep(0.5)
        run = pushed.suite.as_stack("GET", "social_security", f"/social-security/audit-runs/{run['id']}")
    assert run["status"] == "finished", run
    ours = {pushed.organisation("pension-office"), pushed.organisation("medical-fund")}
    found = {
        (
            one["rule"],
            one["form"],
            tuple(sorted(f"{row['kind']} {row['key']}" for row in one["evidence"])),
            f"{float(one['amountAtRisk']):.2f}",
            one["currency"],
        )
        for one in await findings_of(pushed)
        if {row["organisation"] for row in one["evidence"]} <= ours
    }
    expected = {
        (one["rule"], one["form"], tuple(one["evidence"]), one["amount_at_risk"], one["currency"])
        for one in pushed.truth["findings"]
    }
    assert found == expected


@pytest.mark.parametrize("zone", ["mirror-lake.causeway", "mirror-lake.pagoda", "mirror-lake.garden",
                                  "mirror-lake.pier", "cloud-town.street"])  # fmt: skip
def test_the_day_raises_the_warnings_the_oracle_lists(pushed: Pushed, zone: str) -> None:
    steps = pushed.suite.as_stack("GET", "transport", f"/transport/zones/{zone}/episodes?first=100")["items"]
    expected = pushed.truth["warnings"]["zones"][zone]["steps"]
    assert [(one["kind"], one["level"], one["people"]) for one in steps] == [
        (one["kind"], one["level"], one["people"]) for one in expected
    ]


def test_one_query_reaches_all_four_domains(pushed: Pushed) -> None:
    answer = pushed.suite.graphql(
        """{ me { name birthDate learning { grade school { name } }
             health { encounters(first: 100) { nodes { id } } }
             socialSecurity { contributions { scheme } claims(first: 100) { nodes { claimId } } }
             nearbyZones { nodes { id } } } }""",
        as_="city-student",
    )
    assert "errors" not in answer, answer
    whole = City(people=PEOPLE, seed=SEED)
    account = next(one for one in pushed.roster.accounts if one.username == "student")
    assert account.identifier is not None
    student = next(p for p in whole.people if p.number == account.identifier["value"])
    history, me = whole.history(student), answer["data"]["me"]
    assert student.seat is not None
    assert me["name"] == student.name.text
    assert me["birthDate"] == student.birth.isoformat()
    assert int(me["learning"]["grade"]) == student.seat.grade
    assert len(me["health"]["encounters"]["nodes"]) == len(history.visits)
    claims = {claim.claim_id for claim in whole.social_records(student).claims}
    assert {node["claimId"] for node in me["socialSecurity"]["claims"]["nodes"]} == claims
    assert me["nearbyZones"]["nodes"]


def test_a_parent_sees_whom_they_stand_for(pushed: Pushed) -> None:
    answer = pushed.suite.graphql("{ me { guardianOf { birthDate relation } } }", as_="city-parent")
    whole = City(people=PEOPLE, seed=SEED)
    account = next(one for one in pushed.roster.accounts if one.username == "parent")
    assert account.identifier is not None
    parent = next(p for p in whole.people if p.number == account.identifier["value"])
    wards = sorted(p.birth.isoformat() for p in whole.people if parent.index in p.guardians)
    assert sorted(ward["birthDate"] for ward in answer["data"]["me"]["guardianOf"]) == wards
    assert {ward["relation"] for ward in answer["data"]["me"]["guardianOf"]} == {"parent"}


# --- two sectors' dumps ------------------------------------------------------------------------------

PEOPLE_KNOWN = ("health", "social_security", "education", "transport", "exchange", "notify")
SAID_BY_HEALTH = """
    select body::jsonb ->> 'birthDate', body::jsonb ->> 'gender',
           body::jsonb #>> '{address,0,district}'
    from resource where type = 'Patient'
"""
SAID_BY_EDUCATION = """
    select birth_date::text, sex from demographics
"""


@pytest.fixture(scope="module")
def dumps(pushed: Pushed) -> list[Dump]:
    pushed.suite.graphql(
        "{ me { name learning { grade } health { encounters(first: 1) { nodes { id } } } } }",
        as_="city-student",
    )

    async def all_of_them() -> list[Dump]:
        return [await dump(settings_of(pushed.suite), service) for service in PEOPLE_KNOWN]

    return in_thread(all_of_them)


def test_no_two_sectors_dumps_share_a_part_of_an_id(dumps: list[Dump]) -> None:
    """Eight characters would do to join them: in no column, log or event is there anything in common."""
    named = {found.service: len(found.ids) for found in dumps}
    assert named["health"] >= PEOPLE
    assert named["social_security"] > 0
    assert named["education"] > 0
    assert joined(dumps) == []


async def test_no_dump_holds_the_account_a_person_signs_in_with(pushed: Pushed, dumps: list[Dump]) -> None:
    """The actor in a leaf is the person's account as that service knows it."""
    sql = "select id from account where kind = 'person'"
    accounts = [id for (id,) in await rows_of(settings_of(pushed.suite), "identity", sql)]
    assert accounts
    health = next(found for found in dumps if found.service == "health")
    assert any("p1_" in row for row in health.rows["leaf"]), "somebody read their own record"
    for found in dumps:
        whole = "\n".join(row for rows in found.rows.values() for row in rows)
        assert not [account for account in accounts if account in whole], found.service


def test_a_sector_goes_to_its_next_key(pushed: Pushed) -> None:
    """The worker gives everybody an id of the next version."""
    asked = pushed.suite.as_stack("POST", "identity", "/identity/sector-keys/rotations", {"sector": "civil"})
    until = time.monotonic() + RUN_S
    while time.monotonic() < until:
        keys = pushed.suite.as_stack("GET", "identity", "/identity/sector-keys")["keys"]
        states = {key["version"]: key["state"] for key in keys if key["sector"] == "civil"}
        if states[asked["version"]] == "current":
            break
        time.sleep(0.2)
    assert states == {1: "leaving", 2: "current"}


async def test_what_a_red_team_reaches_without_ids(
    pushed: Pushed, record_property: Callable[[str, object], None]
) -> None:
    """Ids do not join; what sectors say of people does. The k is told, not hidden: docs/unlinkability.md."""
    settings = settings_of(pushed.suite)
    health = await rows_of(settings, "health", SAID_BY_HEALTH)
    pupils = await rows_of(settings, "education", SAID_BY_EDUCATION)
    found = {
        "birth date and sex": attack(pupils, [row[:2] for row in health]),
        "year of birth and sex": attack(
            [(born[:4], sex) for born, sex in pupils], [(born[:4], sex) for born, sex, _ in health]
        ),
        "birth date, sex and district, within health": attack(health, health),
    }
    for said, reached in found.items():
        print(f"{PEOPLE} people, joined on {said}: {reached}")
        record_property(said, str(reached))
    assert found["birth date and sex"].people == len(pupils), "every pupil has a record of health"
    assert found["birth date and sex"].smallest >= 1
    assert found["year of birth and sex"].median > found["birth date and sex"].median
