"""People signing in: the page, PKCE, codes and refresh tokens, and what an attacker would try."""

import asyncio
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from services.identity import scopes
from services.identity.oauth.pages import LOCALES, texts
from services.identity.signin import Passwords
from services.kit.principals import TokenVerifier
from tests.identity.conftest import Identity
from tests.identity.parties import CALLBACK, PASSWORD, Browser, citizen_number
from tests.identity.test_clients import payload


def query(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


async def test_accounts_with_passwords_exist_in_the_demo_only(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = identity.kit.settings.model_copy(update={"demo": False})
    monkeypatch.setattr(identity.kit, "settings", settings)
    body = {"kind": "person", "username": "zhang", "password": PASSWORD}
    answer = await identity.admin.post("/identity/accounts", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "demo_only")
    external = {"issuer": "https://sso.example", "subject": "7"}
    outside = {"kind": "staff", "areas": ["000000"], "external": external}
    assert (await identity.admin.post("/identity/accounts", json=outside)).status_code == 201


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"kind": "person", "username": "zhang", "password": "short"}, "invalid_input"),
        ({"kind": "robot", "username": "zhang", "password": PASSWORD}, "invalid_input"),
        ({"kind": "person", "username": "zhang"}, "incomplete_account"),
        ({"kind": "person"}, "incomplete_account"),
        ({"kind": "staff", "username": "li", "password": PASSWORD, "roles": ["king"]}, "unknown_role"),
        ({"kind": "staff", "username": "li", "password": PASSWORD, "roles": ["auditor"]}, "areas_missing"),
        ({"kind": "staff", "username": "li", "password": PASSWORD, "areas": ["033010"]}, "invalid_input"),
        (
            {"kind": "person", "username": "z2", "password": PASSWORD, "identifier": "330106198503140018"},
            "invalid_identifier",
        ),
    ],
)
async def test_a_bad_account_is_refused(identity: Identity, body: dict[str, Any], code: str) -> None:
    answer = await identity.admin.post("/identity/accounts", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await identity.rows("select from account") == []


async def test_making_an_account_again_brings_it_up_to_date(identity: Identity) -> None:
    first = await identity.account("zhang", identifier=citizen_number())
    again = await identity.account("zhang", roles=[], areas=["330106"])
    assert first == again
    assert (await identity.rows("select areas, pid is not null as person from account")) == [
        {"areas": ["330106"], "person": True}
    ]


async def test_a_session_is_good_at_the_gateway_alone(identity: Identity) -> None:
    account = await identity.account("zhang", identifier=citizen_number(), areas=["330106"])
    session = await Browser(identity.http, scope="openid me").session("zhang")
    claims = payload(session["access_token"])
    assert {k: claims[k] for k in ("iss", "sub", "client_id", "kind", "aud", "areas")} == {
        "iss": identity.issuer,
        "sub": account,
        "client_id": "huimin-web",
        "kind": "person",
        "aud": ["gateway"],
        "areas": ["330106"],
    }
    assert "sid" not in claims
    assert set(session["scope"].split()) == {
        "openid",
        "patient/*.rs",
        "education:records:read",
        "social_security:records:read",
        "transport:flows:read",
        "notify:destinations:write",
        "notify:stream:read",
        "identity:persons:read",
        "exchange:catalogue:read",
        "exchange:consents:read",
        "exchange:consents:write",
        "exchange:usage-reports:write",
        "exchange:usages:read",
    }
    about = payload(session["id_token"])
    assert (about["sub"], about["aud"], abs(about["auth_time"] - time.time()) < 60) == (
        account,
        "huimin-web",
        True,
    )


async def test_staff_get_what_their_roles_say(identity: Identity) -> None:
    await identity.account("li", kind="staff", roles=["flow_staff"], areas=["330106"])
    session = await Browser(identity.http).session("li")
    claims = payload(session["access_token"])
    assert (claims["kind"], claims["roles"]) == ("staff", ["flow_staff"])
    assert set(claims["scope"].split()) == {
        "exchange:catalogue:read",
        "notify:destinations:write",
        "notify:duties:take",
        "notify:stream:read",
        "notify:webhooks:write",
        "transport:flows:read",
        "transport:warnings:acknowledge",
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"client_id": "service:gateway"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": f"{CALLBACK}/../evil"},
        {"redirect_uri": f"{CALLBACK}?more"},
        {"redirect_uri": "http://127.0.0.1:9999/gateway/callback"},
        {"redirect_uri": "http://127.0.0.1:8000@evil.example/gateway/callback"},
        {"redirect_uri": None},
    ],
)
async def test_an_untrusted_address_is_never_redirected_to(
    identity: Identity, changed: dict[str, str | None]
) -> None:
    answer = await Browser(identity.http).page(**changed)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "无法登录" in answer.text
    assert "Sign-in is not possible" in answer.text
    assert "evil" not in answer.text


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
    ],
)
async def test_a_wrong_request_is_told_to_the_client(
    identity: Identity, changed: dict[str, str | None], error: str
) -> None:
    browser = Browser(identity.http)
    answer = await browser.page(**changed)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{CALLBACK}?")
    said = query(answer.headers["location"])
    assert (said["error"], said["state"], said["iss"]) == (error, browser.state, identity.issuer)


async def test_the_page_is_bilingual_and_locked_down(identity: Identity) -> None:
    answer = await Browser(identity.http).page()
    assert answer.status_code == 200
    for text in (
        "用户名",
        "User name",
        "密码",
        "Password",
        'lang="zh-Hans"',
        'autocomplete="current-password"',
    ):
        assert text in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:8000" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script" not in answer.text
    assert (answer.headers["cache-control"], answer.headers["x-frame-options"]) == ("no-store", "DENY")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/oauth" in cookie


def test_every_text_stands_in_both_languages() -> None:
    assert texts("zh").keys() == texts("en").keys()
    assert {path.stem for path in LOCALES.glob("*.json")} == {"zh", "en"}
    holes = re.compile(r"{\w+}")
    assert {k: holes.findall(v) for k, v in texts("zh").items()} == {
        k: holes.findall(v) for k, v in texts("en").items()
    }


def test_every_text_is_used() -> None:
    oauth = LOCALES.parent / "oauth"
    files = [*oauth.glob("*.py"), *oauth.glob("pages/*.html")]
    source = "".join(path.read_text() for path in files)
    scopes_shown = {f"scope.{scope}" for row in scopes.CITIZEN.values() for scope in row}
    plain = {key for key in texts("zh") if not key.startswith("scope.")}
    assert {key for key in plain if f'"{key}"' not in source} == set()
    assert texts("zh").keys() - plain == scopes_shown


async def test_a_forged_form_does_not_count(identity: Identity) -> None:
    """Without the cookie, with another browser's, from another origin, altered, or as JSON."""
    await identity.account("zhang")
    page = await Browser(identity.http).page()
    hidden = re.search(r'name="request" value="([^"]+)"', page.text)
    assert hidden is not None
    form = {"request": hidden[1], "username": "zhang", "password": PASSWORD}
    cookie = page.cookies["huimin_signin"]

    async def post(data: dict[str, str], cookie: str | None, **headers: str) -> int:
        identity.http.cookies.clear()
        if cookie is not None:
            headers["cookie"] = f"huimin_signin={cookie}"
        return (await identity.http.post("/oauth/authorize", data=data, headers=headers)).status_code

    assert await post(form, None) == 403
    assert await post(form, "another-browser") == 403
    assert await post(form, cookie, origin="https://evil.example") == 403
    assert await post(form, cookie, origin="null") == 403
    assert await post({**form, "request": form["request"][:-8] + "AAAAAAA="}, cookie) == 403
    assert await post({**form, "request": ""}, cookie) == 403
    assert (await identity.http.post("/oauth/authorize", json=form)).status_code == 403
    assert await identity.rows("select from session") == []
    assert await post(form, cookie, origin="http://127.0.0.1:8000") == 303


async def test_a_wrong_password_says_the_same_as_a_wrong_name(identity: Identity) -> None:
    await identity.account("zhang")
    pages = []
    for username in ("zhang", "nobody"):
        answer = await Browser(identity.http).sign_in(username, "wrong password")
        assert answer.status_code == 401
        pages.append(re.sub(r'(nonce|value)(-|=")[^"\']+', "", answer.text))
    assert pages[0] == pages[1]
    assert "用户名或密码不正确" in pages[0]
    assert "wrong password" not in pages[0]


async def test_after_five_failures_even_the_right_password_waits(identity: Identity) -> None:
    await identity.account("zhang")
    await identity.account("wang")
    for _ in range(4):
        assert (await Browser(identity.http).sign_in("zhang", "wrong")).status_code == 401
    assert (await Browser(identity.http).sign_in("zhang", "wrong")).status_code == 429
    locked = await Browser(identity.http).sign_in("zhang")
    assert locked.status_code == 429
    assert 0 < int(locked.headers["retry-after"]) <= 30
    assert "秒后重试" in locked.text
    assert (await Browser(identity.http).sign_in("ZHANG ")).status_code == 429
    assert (await Browser(identity.http).sign_in("wang")).status_code == 303
    async with identity.kit.db.transaction() as tx:
        await tx.execute("update signin_failure set locked_until = now() - interval '1 second'")
    assert (await Browser(identity.http).sign_in("zhang", "wrong")).headers["retry-after"] == "60"
    async with identity.kit.db.transaction() as tx:
        await tx.execute("update signin_failure set locked_until = now() - interval '1 second'")
    assert (await Browser(identity.http).sign_in("zhang")).status_code == 303
    assert (await Browser(identity.http).sign_in("zhang", "wrong")).status_code == 401


async def test_guesses_all_at_once_are_counted_one_by_one(identity: Identity) -> None:
    await identity.account("zhang")
    answers = await asyncio.gather(*(Browser(identity.http).sign_in("zhang", f"w{n}") for n in range(30)))
    # Two are looked at together, so one more than five may slip in.
    assert [answer.status_code for answer in answers].count(401) <= 5
    [row] = await identity.rows(
        "select max(failures) as failures from signin_failure where locked_until > now()"
    )
    assert row["failures"] <= 6


async def test_unknown_names_are_locked_alike(identity: Identity) -> None:
    answers = [(await Browser(identity.http).sign_in("nobody", "x")).status_code for _ in range(6)]
    assert answers == [401, 401, 401, 401, 429, 429]


async def test_checking_passwords_does_not_stop_the_others(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()
    matches = Passwords._matches

    def noted(*args: Any) -> bool:
        threads.add(threading.get_ident())
        return matches(*args)

    monkeypatch.setattr(Passwords, "_matches", noted)
    await identity.account("zhang")
    await asyncio.gather(*(Browser(identity.http).sign_in(f"n{n}", "x") for n in range(6)))
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": "x" * 43},
        {"redirect_uri": "http://127.0.0.1:8000/signin/callback"},
        {"client_id": "service:gateway"},
        {"code": "never-given"},
    ],
)
async def test_a_stolen_code_is_worth_nothing(identity: Identity, changed: dict[str, str]) -> None:
    await identity.account("zhang")
    browser = Browser(identity.http)
    answer = await browser.redeem(**{"code": await browser.code("zhang"), **changed})
    assert answer.json()["error"] in {"invalid_grant", "invalid_client"}
    assert await identity.rows("select from refresh_token") == []


async def test_a_failed_guess_at_the_verifier_uses_the_code_up(identity: Identity) -> None:
    await identity.account("zhang")
    browser = Browser(identity.http)
    code = await browser.code("zhang")
    assert (await browser.redeem(code, code_verifier="x" * 43)).json()["error"] == "invalid_grant"
    assert (await browser.redeem(code)).json()["error"] == "invalid_grant"


async def test_a_code_used_twice_ends_the_session(identity: Identity) -> None:
    await identity.account("zhang")
    browser = Browser(identity.http)
    code = await browser.code("zhang")
    session = (await browser.redeem(code)).json()
    again = await browser.redeem(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    refreshed = await browser.refresh(session["refresh_token"])
    assert refreshed.json()["error"] == "invalid_grant"


async def test_an_old_code_is_refused(identity: Identity) -> None:
    await identity.account("zhang")
    browser = Browser(identity.http)
    code = await browser.code("zhang")
    async with identity.kit.db.transaction() as tx:
        await tx.execute("update authorization_code set expires_at = now() - interval '1 second'")
    assert (await browser.redeem(code)).json()["error_description"] == "the code has expired; sign in again"


async def test_a_refresh_token_is_used_once_and_its_theft_ends_the_session(identity: Identity) -> None:
    await identity.account("zhang")
    browser = Browser(identity.http)
    first = await browser.session("zhang")
    second = (await browser.refresh(first["refresh_token"])).json()
    third = (await browser.refresh(second["refresh_token"])).json()
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    stolen = await browser.refresh(second["refresh_token"])
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    assert (await browser.refresh(third["refresh_token"])).json()["error"] == "invalid_grant"


async def test_two_refreshes_at_once_give_one_session_or_none(identity: Identity) -> None:
    await identity.account("zhang")
    browser = Browser(identity.http)
    token = (await browser.session("zhang"))["refresh_token"]
    answers = await asyncio.gather(*(browser.refresh(token) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]


async def test_another_clients_refresh_token_is_refused(identity: Identity) -> None:
    await identity.account("zhang")
    app = await identity.registered("app", redirect_uris=["https://app.example/back"], jwk=None)
    token = (await Browser(identity.http).session("zhang"))["refresh_token"]
    answer = await Browser(identity.http, client_id=app.client_id).refresh(token)
    assert answer.json()["error"] == "invalid_grant"


async def test_an_app_gets_what_it_asked_and_says_so_first(identity: Identity) -> None:
    await identity.account("zhang", identifier=citizen_number())
    app = await identity.registered(
        "app", name="健康助手", redirect_uris=["https://app.example/back"], jwk=None
    )
    browser = Browser(
        identity.http,
        client_id=app.client_id,
        redirect_uri="https://app.example/back",
        scope="openid patient/Observation.rs transport:warnings:acknowledge",
    )
    page = await browser.page()
    assert "健康助手" in page.text
    assert "查看您的健康档案" in page.text
    assert "see your health record" in page.text
    assert "form-action 'self' https://app.example" in page.headers["content-security-policy"]
    session = await browser.session("zhang")
    assert session["scope"] == "openid patient/Observation.rs"


async def test_a_native_app_may_listen_on_any_loopback_port(identity: Identity) -> None:
    await identity.account("zhang")
    app = await identity.registered("app", redirect_uris=["http://127.0.0.1/back"], jwk=None)
    browser = Browser(identity.http, client_id=app.client_id, redirect_uri="http://127.0.0.1:53412/back")
    assert "access_token" in await browser.session("zhang")
    other = await browser.page(redirect_uri="http://127.0.0.1:53412/other")
    assert other.status_code == 400


async def test_the_session_ends_with_its_account_and_its_time(identity: Identity) -> None:
    await identity.account("zhang")
    browser = Browser(identity.http)
    one, two = await browser.session("zhang"), await browser.session("zhang")
    async with identity.kit.db.transaction() as tx:
        await tx.execute(
            "update session set expires_at = $1 where id = $2::uuid",
            datetime.now(UTC) - timedelta(seconds=1),
            payload(one["access_token"])["ses"],
        )
    assert (await browser.refresh(one["refresh_token"])).json()["error"] == "invalid_grant"
    async with identity.kit.db.transaction() as tx:
        await tx.execute("update account set disabled_at = now()")
    assert (await browser.refresh(two["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await browser.sign_in("zhang")).status_code == 401


async def test_signing_in_leaves_a_leaf_without_the_name(identity: Identity) -> None:
    await identity.account("zhang-wei-1985", identifier=citizen_number())
    await Browser(identity.http).session("zhang-wei-1985")
    [leaf] = await identity.leaves("session.opened")
    assert leaf["subject"].startswith("h1_")
    assert leaf["resource"] == "clients/huimin-web"
    assert "zhang-wei" not in str(leaf)


async def test_a_session_is_no_key_to_the_services(identity: Identity) -> None:
    """The kit's own verifier, as health would use it, refuses the gateway's token."""
    await identity.account("zhang", identifier=citizen_number())
    session = await Browser(identity.http).session("zhang")
    http = await identity.house.client("identity", token=session["access_token"])
    answer = await http.get("/identity/persons/me")
    assert answer.status_code == 401
    assert "another audience" in answer.json()["detail"]
    health = TokenVerifier(
        issuer=identity.issuer,
        audience="health",
        seal_key=bytes(32),
        fetch_keys=identity.kit.calls.fetch_keys,
    )
    with pytest.raises(Exception, match="another audience"):
        await health.verify(session["access_token"])
