"""Signing in at an outside issuer: a second identity, in a process and on a database of its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from services.stack.program import free_port
from tests.identity.parties import CALLBACK, PASSWORD, Browser, Machine
from tests.identity.served import served_identity
from tests.identity.test_clients import payload
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services


@dataclass
class Outside:
    """The other issuer: its address, the client we are to it, and the subjects it knows."""

    issuer: str
    http: httpx.AsyncClient
    client_id: str
    subjects: dict[str, str]


@dataclass
class Ours:
    house: RunningServices
    http: httpx.AsyncClient
    admin: httpx.AsyncClient
    outside: Outside

    async def to_outside(self, browser: Browser) -> httpx.Response:
        """Our authorization endpoint sends the browser on, and it gets the other's page."""
        sent = await browser.page()
        assert sent.status_code == 303, sent.text
        return await self.outside.http.get(sent.headers["location"])

    async def signed_in_there(self, page: httpx.Response, username: str) -> str:
        """Where the other issuer sends the browser once the password was right."""
        hidden = page.text.split('name="request" value="')[1].split('"')[0]
        form = {"request": hidden, "username": username, "password": PASSWORD}
        answer = await self.outside.http.post(f"{self.outside.issuer}/oauth/authorize", data=form)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def back(self, location: str) -> httpx.Response:
        return await self.http.get(location.removeprefix(self.house.settings.public_url))


@pytest.fixture(scope="module")
async def outside(servers: TestServers) -> AsyncIterator[Outside]:
    async with served_identity(servers) as served:
        back = "http://127.0.0.1:8000/oauth/callback"
        client = await served.post("clients", {"kind": "app", "name": "ours", "redirect_uris": [back]})
        subjects = {}
        for name in ("alice", "bob"):
            made = await served.post("accounts", {"kind": "person", "username": name, "password": PASSWORD})
            subjects[name] = made["account_id"]
        yield Outside(served.issuer, served.http, client["client_id"], subjects)


@pytest.fixture(scope="module")
async def started(servers: TestServers, issuer: Issuer, outside: Outside) -> AsyncIterator[Ours]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HUIMIN_OIDC_ISSUER", outside.issuer)
        environment.setenv("HUIMIN_OIDC_CLIENT_ID", outside.client_id)
        async with running_services(("identity",), servers, issuer) as house:
            http = await house.client("identity", scopes=None)
            granted = await Machine.service(house.settings, "stack").token(http)
            admin = await house.client("identity", token=granted.json()["access_token"])
            yield Ours(house, http, admin, outside)


@pytest.fixture
async def ours(started: Ours) -> Ours:
    started.http.cookies.clear()
    started.outside.http.cookies.clear()
    external = {"issuer": started.outside.issuer, "subject": started.outside.subjects["alice"]}
    body = {"kind": "staff", "roles": ["auditor"], "areas": ["330100"], "external": external}
    answer = await started.admin.post("/identity/accounts", json=body)
    assert answer.status_code in {200, 201}, answer.text
    return started


async def test_a_linked_account_signs_in_there_and_gets_its_session_here(ours: Ours) -> None:
    browser = Browser(ours.http)
    page = await ours.to_outside(browser)
    assert "用户名" in page.text
    answer = await ours.back(await ours.signed_in_there(page, "alice"))
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{CALLBACK}?")
    said = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert (said["state"], said["iss"]) == (browser.state, ours.house.settings.issuer)
    session = (await browser.redeem(said["code"])).json()
    claims = payload(session["access_token"])
    assert (claims["iss"], claims["kind"], claims["roles"]) == (
        ours.house.settings.issuer,
        "staff",
        ["auditor"],
    )


async def test_somebody_who_is_not_linked_is_told_what_to_do(ours: Ours) -> None:
    page = await ours.to_outside(Browser(ours.http))
    answer = await ours.back(await ours.signed_in_there(page, "bob"))
    assert answer.status_code == 403
    assert "尚未与本系统的账号关联" in answer.text
    assert "not linked to one here" in answer.text
    assert ours.outside.subjects["bob"] in answer.text


async def test_an_answer_counts_once_and_only_in_its_browser(ours: Ours) -> None:
    location = await ours.signed_in_there(await ours.to_outside(Browser(ours.http)), "alice")
    other = await ours.house.client("identity", scopes=None)
    assert (await other.get(location.removeprefix(ours.house.settings.public_url))).status_code == 403
    assert (await ours.back(location)).status_code == 303
    assert (await ours.back(location)).status_code == 403


async def test_a_code_of_another_sign_in_is_refused(ours: Ours) -> None:
    """The attacker's own code put into the victim's sign-in: PKCE at the outside issuer stops it."""
    stolen = await ours.signed_in_there(await ours.to_outside(Browser(ours.http)), "alice")
    ours.http.cookies.clear()
    mine = await ours.signed_in_there(await ours.to_outside(Browser(ours.http)), "alice")
    code, own = (parse_qs(urlsplit(location).query)["code"][0] for location in (stolen, mine))
    answer = await ours.back(mine.replace(own, code))
    assert answer.status_code == 502
    assert "外部身份认证没有完成" in answer.text


@pytest.mark.parametrize(
    "change", ["state=x", "state=%E5%8F%B7", "iss=https%3A%2F%2Fevil.example&x=", "error=access_denied&x="]
)
async def test_an_answer_that_is_not_to_our_question_is_refused(ours: Ours, change: str) -> None:
    location = await ours.signed_in_there(await ours.to_outside(Browser(ours.http)), "alice")
    name = change.partition("=")[0]
    before, found, after = location.partition(f"{name}=")
    altered = f"{before}{change}{after}" if found else f"{location}&{change}"
    assert (await ours.back(altered)).status_code == 502


async def test_our_own_page_is_closed_then(ours: Ours) -> None:
    form = {"request": "x", "username": "alice", "password": PASSWORD}
    assert (await ours.http.post("/oauth/authorize", data=form)).status_code == 403


async def test_an_outside_issuer_that_is_away_is_said_plainly(
    ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    party = ours.house.kit("identity").parts["outside"]
    monkeypatch.setattr(party, "issuer", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(party, "_known", None)
    answer = await Browser(ours.http).page()
    assert answer.status_code == 502
    assert "外部身份认证没有完成" in answer.text
