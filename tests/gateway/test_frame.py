"""The pages' frame: who is signed in and how that is kept, who may open what, forms, languages."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from gateway.pages import PAGES, cookies, frame, page_set_of, signin
from services.identity.scopes import CITIZEN, ROLES
from services.kit.app import Kit
from services.kit.principals import ANONYMOUS, Principal
from tests.gateway.visitor import Pages, Visitor, pages_of
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

COOKIE = "huimin_session"
STAFF = Principal(kind="staff", subject="u", scopes=frozenset[str]().union(*ROLES.values()))
CITIZEN_IN = Principal(kind="person", subject="p", scopes=frozenset[str]().union(*CITIZEN.values()))


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    async with pages_of(("identity", "gateway"), servers, issuer) as found:
        await found.account("zhang")
        await found.account("staff", kind="staff", roles=["operator"], areas=["330100"])
        await found.account("auditor", kind="staff", roles=["auditor"], areas=["330100"])
        await found.account("all", kind="staff", roles=sorted(ROLES), areas=["330100"], organisation="9" * 18)
        yield found


def kit_of(pages: Pages) -> Kit:
    return pages.house.kit("gateway")


def kept(pages: Pages, visitor: Visitor) -> signin.SignedIn:
    """What the visitor's cookie holds, as the gateway alone can read it."""
    sealed = visitor.cookie(COOKIE)
    assert sealed is not None
    found = cookies.opened(kit_of(pages), signin.SESSION, sealed)
    assert found is not None
    return signin.SignedIn(**found)


def put(pages: Pages, visitor: Visitor, **changed: object) -> None:
    """The same session with something changed, as after a while."""
    now = asdict(kept(pages, visitor))
    sealed = cookies.sealed(kit_of(pages), signin.SESSION, {**now, **changed}, life_s=600)
    visitor.http.cookies.delete(COOKIE)
    visitor.http.cookies.set(COOKIE, sealed, domain="127.0.0.1", path="/")


async def live_sessions(pages: Pages) -> int:
    async with pages.house.kit("identity").db.read() as db:
        return int(await db.fetchval("select count(*) from session where revoked_at is null"))


# ── who may open what


async def test_nobody_is_sent_to_sign_in_and_comes_back(pages: Pages) -> None:
    visitor = await pages.visitor()
    sent = await visitor.http.get("/me?lang=en")
    assert sent.status_code == 303
    assert parse_qs(urlsplit(sent.headers["location"]).query) == {"next": ["/me?lang=en"]}
    there = await visitor.sign_in("zhang", at="/me?lang=en")
    assert (there.status_code, there.url.path, there.url.query) == (200, "/me", b"lang=en")


@pytest.mark.parametrize(
    ("username", "path", "words"),
    [
        ("staff", "/me", "当前账号无权打开此页面"),
        ("zhang", "/console", "当前账号无权打开此页面"),
        ("staff", "/me?lang=en", "This account may not open this page"),
    ],
)
async def test_the_wrong_account_is_told_so_on_a_page(
    pages: Pages, username: str, path: str, words: str
) -> None:
    visitor = await pages.signed_in(username)
    answer = await visitor.get(path)
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert f"<h1>{words}</h1>" in answer.text


def test_every_set_but_the_start_page_is_for_somebody() -> None:
    assert [one.name for one in PAGES if one.opens_to(ANONYMOUS)] == ["start"]
    for one in PAGES[1:]:
        both = one.opens_to(STAFF) and one.opens_to(CITIZEN_IN)
        assert one.opens_to(STAFF) or one.opens_to(CITIZEN_IN)
        assert both is (one.name == "notifications")


@pytest.mark.parametrize(
    ("path", "name"), [("/", "start"), ("/me", "me"), ("/me/usage", "me"), ("/mean", "start")]
)
def test_a_path_belongs_to_the_longest_set(path: str, name: str) -> None:
    found = page_set_of(path)
    assert found is not None
    assert found.name == name


async def test_the_console_lists_what_the_session_may_open(pages: Pages) -> None:
    answer = await (await pages.signed_in("all")).get("/console", lang="en")
    assert answer.status_code == 200
    shown = set(re.findall(r'<h2><a href="(/console/[\w/-]+)">', answer.text))
    assert shown == {one.path for one in PAGES if one.path.startswith("/console/")}
    answer = await (await pages.signed_in("auditor")).get("/console", lang="en")
    assert "There is no console here" in answer.text


# ── the session's cookie


async def test_the_cookie_is_sealed_small_and_out_of_scripts_reach(pages: Pages) -> None:
    visitor = await pages.visitor()
    await visitor.sign_in("all")
    sealed = visitor.cookie(COOKIE)
    assert sealed is not None
    # The widest account there is, in one cookie that browsers take.
    assert len(sealed) < cookies.LARGEST_BYTES
    assert kept(pages, visitor).access not in sealed
    line = next(
        header
        for answer in (await visitor.http.get("/signin"),)
        for header in answer.headers.get_list("set-cookie")
    )
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in line.split(";")}


async def test_over_https_the_cookie_belongs_to_this_host_alone(pages: Pages) -> None:
    settings = pages.house.settings.model_copy(update={"public_url": "https://huimin.example"})
    answer = Response()
    cookies.put(answer, replace(kit_of(pages), settings=settings), signin.SESSION, {}, life_s=60)
    line = answer.headers["set-cookie"]
    assert line.startswith(f"__Host-{COOKIE}=")
    assert {"Secure", "Path=/", "HttpOnly"} <= {part.strip() for part in line.split(";")}
    assert "domain" not in line.lower()


@pytest.mark.parametrize("made_of", ["nothing", "another_key", "half", "another_cookie"])
async def test_a_cookie_not_of_our_making_is_no_session(pages: Pages, made_of: str) -> None:
    visitor = await pages.signed_in("zhang")
    sealed = visitor.cookie(COOKIE) or ""
    forged = {
        "nothing": "x.y.z",
        "half": sealed[: len(sealed) // 2],
        "another_key": sealed[:-4] + "AAAA",
        "another_cookie": cookies.sealed(kit_of(pages), "notice", {"keys": []}, life_s=60),
    }[made_of]
    visitor.http.cookies.delete(COOKIE)
    visitor.http.cookies.set(COOKIE, forged, domain="127.0.0.1", path="/")
    assert (await visitor.http.get("/me")).status_code == 303


async def test_an_access_token_that_ends_is_renewed_once_for_all_who_come(pages: Pages) -> None:
    visitor = await pages.signed_in("zhang")
    put(pages, visitor, until=0.0)
    before = kept(pages, visitor)
    header = {"cookie": f"{COOKIE}={visitor.cookie(COOKIE)}"}
    # Tabs opened together, each still with the old cookie: a second use of the token would end the session.
    others = [await pages.visitor(**header) for _ in range(4)]
    answers = await asyncio.gather(*(other.http.get("/me") for other in others))
    assert {answer.status_code for answer in answers} == {200}
    assert (await visitor.get("/me")).status_code == 200
    after = kept(pages, visitor)
    assert after.refresh != before.refresh
    assert (after.csrf, after.until > before.until) == (before.csrf, True)


async def test_a_session_that_has_ended_elsewhere_is_over(pages: Pages) -> None:
    visitor = await pages.signed_in("zhang")
    put(pages, visitor, until=0.0, refresh="never-given")
    answer = await visitor.http.get("/me")
    assert answer.status_code == 303
    assert visitor.cookie(COOKIE) is None


async def test_a_token_of_another_issuer_signs_nobody_in(pages: Pages) -> None:
    visitor = await pages.signed_in("zhang")
    put(pages, visitor, access="e30.e30.e30")
    assert (await visitor.http.get("/me")).status_code == 303


async def test_signing_out_ends_the_session_at_the_issuer(pages: Pages) -> None:
    visitor = await pages.signed_in("zhang")
    old = kept(pages, visitor)
    before = await live_sessions(pages)
    answer = await visitor.send("/signout")
    assert answer.headers["location"] == "/"
    assert "您已退出" in (await visitor.get("/", lang="zh")).text
    assert "您已退出" not in (await visitor.get("/")).text
    assert visitor.cookie(COOKIE) is None
    assert await live_sessions(pages) == before - 1
    # Somebody who kept the cookie has nothing with it once the access token has to be renewed.
    late = cookies.sealed(kit_of(pages), signin.SESSION, asdict(old) | {"until": 0.0}, life_s=60)
    visitor.http.cookies.set(COOKIE, late, domain="127.0.0.1", path="/")
    assert (await visitor.http.get("/me")).status_code == 303


# ── coming back from the sign-in


async def test_an_answer_to_another_browsers_sign_in_is_refused(pages: Pages) -> None:
    visitor = await pages.visitor()
    asked = await visitor.http.get("/signin?next=/me")
    state = parse_qs(urlsplit(asked.headers["location"]).query)["state"][0]
    stranger = await pages.visitor()
    issuer = pages.house.settings.issuer
    for who, query in (
        (stranger, f"state={state}&code=x&iss={issuer}"),
        (visitor, f"state=other&code=x&iss={issuer}"),
        (visitor, f"state={state}&code=x&iss=https://elsewhere.example"),
        (visitor, f"state={state}&code=never-given&iss={issuer}"),
        (visitor, f"state={state}&error=access_denied&iss={issuer}"),
        (visitor, ""),
    ):
        answer = await who.http.get(f"/signin/callback?{query}")
        assert answer.status_code == 403
        assert who.cookie(COOKIE) is None


@pytest.mark.parametrize(
    "to",
    [
        "https://elsewhere.example/",
        "//elsewhere.example",
        "/\\elsewhere.example",
        "\\\\elsewhere.example",
        "/\t/elsewhere.example",
        "javascript:alert(1)",
        "elsewhere.example",
        "",
        "/me\r\nset-cookie: a=b",
        "///elsewhere.example",
    ],
)
async def test_the_way_back_never_leaves_this_origin(pages: Pages, to: str) -> None:
    visitor = await pages.visitor()
    there = await visitor.sign_in("zhang", at=to)
    assert (there.status_code, there.url.host, there.url.path) == (200, "127.0.0.1", "/")


@given(st.text(max_size=30).map(lambda text: "/" + text) | st.text(max_size=30))
def test_a_local_path_is_one(text: str) -> None:
    found = frame.local(text)
    assert found.startswith("/")
    assert not found.startswith(("//", "/\\"))
    assert found.isascii()
    assert found.isprintable()


# ── forms


async def test_a_form_counts_only_from_our_own_page_and_this_session(pages: Pages) -> None:
    visitor = await pages.signed_in("zhang")
    other = await pages.signed_in("zhang")
    for headers, fields, status in (
        ({"origin": "https://elsewhere.example"}, {}, 403),
        ({"origin": "null"}, {}, 403),
        ({"sec-fetch-site": "cross-site"}, {}, 403),
        ({"sec-fetch-site": "same-site"}, {}, 403),
        ({}, {"csrf": ""}, 403),
        ({}, {"csrf": "è"}, 403),
        ({}, {"csrf": await other.csrf()}, 403),
        ({}, {"more": "1"}, 422),
        ({}, {"csrf": "x" * 5000}, 422),
    ):
        answer = await visitor.send("/signout", fields, headers=headers)
        assert answer.status_code == status, (headers, fields)
        assert answer.headers["content-type"].startswith("text/html")
    assert (await visitor.http.post("/signout", json={})).status_code == 415
    assert (await visitor.http.get("/me")).status_code == 200
    good = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert (await visitor.send("/signout", headers=good)).status_code == 303


async def test_a_form_of_a_session_that_has_ended_leads_to_the_sign_in(pages: Pages) -> None:
    visitor = await pages.visitor()
    answer = await visitor.http.post("/signout", data={"csrf": "x"})
    assert answer.headers["location"] == "/signin?next=%2F"


# ── languages and sizes


async def test_language_and_size_are_remembered(pages: Pages) -> None:
    visitor = await pages.visitor(**{"accept-language": "en-GB,en;q=0.9"})
    assert '<html lang="en">' in (await visitor.get("/")).text
    assert '<html lang="zh-Hans" class="large">' in (await visitor.get("/", lang="zh", size="large")).text
    assert '<html lang="zh-Hans" class="large">' in (await visitor.get("/")).text
    assert '<html lang="zh-Hans">' in (await visitor.get("/", size="normal")).text


@pytest.mark.parametrize("query", ["lang=de", "size=tiny", "colour=red", "lang=zh&lang=en"])
async def test_parameters_nobody_knows_are_refused_on_a_page(pages: Pages, query: str) -> None:
    answer = await (await pages.visitor()).http.get(f"/?{query}")
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"].startswith("text/html")


async def test_pages_come_with_their_policies(pages: Pages) -> None:
    headers = (await (await pages.visitor()).get("/")).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin"
