"""What no browser and no honest client sends is refused like anything else that is wrong: never a 5xx."""

from typing import Any

import pytest

from tests.identity.conftest import Identity
from tests.identity.parties import PASSWORD, Browser, Machine

NOT_AN_ADDRESS = "http://[bad/callback"


async def test_an_address_that_is_none_is_not_an_address(identity: Identity) -> None:
    body = {"kind": "app", "name": "a", "redirect_uris": ["http://127.0.0.1/callback"]}
    app = (await identity.admin.post("/identity/clients", json=body)).json()["client_id"]
    for client in (app, "huimin-web", "nobody"):
        answer = await Browser(identity.http, client_id=client, redirect_uri=NOT_AN_ADDRESS).page()
        assert answer.status_code == 400, answer.text
    body["redirect_uris"] = ["https://app.example/", NOT_AN_ADDRESS]
    refused = await identity.admin.post("/identity/clients", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "redirect_uris.1"


async def test_a_form_from_nowhere_is_not_taken(identity: Identity) -> None:
    form = {"request": "x", "username": "zhang", "password": PASSWORD}
    for origin in ("http://[bad", "null", "http://evil.example"):
        answer = await identity.http.post("/oauth/authorize", data=form, headers={"origin": origin})
        assert answer.status_code == 403, origin


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": -(10**400)},
        {"nbf": float("nan"), "exp": 0},
        {"jti": "\x00" * 16},
        {"aud": [["x"]]},
        {"aud": {}},
        {"sub": ["x"]},
    ],
    ids=repr,
)
async def test_odd_claims_of_an_assertion(identity: Identity, claims: dict[str, Any]) -> None:
    hospital = await identity.registered("hospital")
    form = hospital.form(hospital.assertion(**claims), grant_type="client_credentials")
    answer = await identity.http.post("/oauth/token", data=form)
    assert 400 <= answer.status_code < 500, answer.text


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "号" * 5000, "' or 1=1 --", "<script>alert(1)</script>"])
async def test_odd_names_at_the_sign_in(identity: Identity, text: str) -> None:
    await identity.account("zhang")
    answer = await Browser(identity.http).sign_in(text, text)
    assert 400 <= answer.status_code < 500, answer.text
    assert "<script>alert" not in answer.text
    for field in ("client_id", "scope", "state", "redirect_uri"):
        answer = await Browser(identity.http).page(**{field: text[:2000]})
        assert answer.status_code < 500, (field, answer.text)
        assert "<script>alert" not in answer.text


@pytest.mark.parametrize("token", ["", "\x00", "號", "a.b.c", "." * 200, "x" * 100_000])
async def test_odd_tokens(identity: Identity, token: str) -> None:
    machine: Machine = identity.service("gateway")
    for path in ("/oauth/introspect", "/oauth/revoke"):
        answer = await identity.http.post(path, data=machine.form(token=token))
        assert answer.status_code < 500, answer.text
    for grant, name in (("authorization_code", "code"), ("refresh_token", "refresh_token")):
        form = {"grant_type": grant, name: token, "client_id": "huimin-web", "code_verifier": token}
        answer = await identity.http.post("/oauth/token", data=form)
        assert answer.status_code < 500, answer.text
