"""Clients and their proof (RFC 7523): what is refused matters more than what is taken."""

import base64
import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from services.identity import scopes
from services.kit.client_keys import service_key
from services.kit.settings import Settings
from tests.identity.conftest import Identity
from tests.identity.parties import Machine


def payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"kind": "hospital", "name": "x"}, "missing"),
        ({"kind": "hospital", "name": "x", "jwk": {"kty": "RSA", "n": "1", "e": "AQAB"}}, "unsupported_key"),
        ({"kind": "hospital", "name": "x", "jwk": {"kty": "EC", "crv": "P-384"}}, "unsupported_key"),
        (
            {"kind": "hospital", "name": "x", "jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}},
            "malformed_key",
        ),
        ({"kind": "app", "name": "x"}, "missing"),
        ({"kind": "app", "name": "x", "redirect_uris": ["http://example.org/back"]}, "invalid_redirect_uri"),
        ({"kind": "app", "name": "x", "redirect_uris": ["https://a.example/#f"]}, "invalid_redirect_uri"),
        ({"kind": "app", "name": "x", "redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
    ],
)
async def test_bad_client_metadata_is_named(identity: Identity, body: dict[str, Any], code: str) -> None:
    answer = await identity.admin.post("/identity/clients", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)
    assert await identity.rows("select from client") == []


async def test_a_private_key_is_refused_and_not_kept(identity: Identity) -> None:
    key = ECKey.generate_key("P-256", private=True)
    body = {"kind": "gate", "name": "x", "jwk": key.as_dict(private=True)}
    answer = await identity.admin.post("/identity/clients", json=body)
    assert answer.json()["errors"][0]["code"] == "private_key"
    assert str(key.as_dict(private=True)["d"]) not in answer.text


async def test_clients_are_registered_by_who_may(identity: Identity) -> None:
    body = {"kind": "gate", "name": "x", "jwk": {}}
    assert (await identity.http.post("/identity/clients", json=body)).status_code == 401
    health = await identity.as_service("health")
    assert (await health.post("/identity/clients", json=body)).json()["code"] == "insufficient_scope"


@pytest.mark.parametrize(
    ("kind", "granted", "audience"),
    [
        ("hospital", "notify:webhooks:write system/*.cruds", ["health", "notify"]),
        ("school", "education:imports:write", ["education"]),
        ("agency", "social_security:imports:write", ["social_security"]),
        ("insurer", "social_security:imports:write", ["social_security"]),
        ("gate", "transport:readings:write", ["transport"]),
        (
            "site",
            "notify:stream:read notify:webhooks:write transport:readings:write transport:sites:write",
            ["notify", "transport"],
        ),
    ],
)
async def test_each_kind_gets_its_row(
    identity: Identity, kind: str, granted: str, audience: list[str]
) -> None:
    machine = await identity.registered(kind, organisation="org-1", area="330106")
    answer = await machine.token(identity.http)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, granted)
    claims = payload(body["access_token"])
    assert {k: claims[k] for k in ("iss", "sub", "client_id", "kind", "org", "areas", "aud", "scope")} == {
        "iss": identity.issuer,
        "sub": machine.client_id,
        "client_id": machine.client_id,
        "kind": "organisation",
        "org": "org-1",
        "areas": ["330106"],
        "aud": audience,
        "scope": granted,
    }
    assert claims["exp"] - claims["iat"] == 900


async def test_a_client_may_ask_for_less_and_never_for_more(identity: Identity) -> None:
    machine = await identity.registered("hospital")
    less = await machine.token(identity.http, scope="system/Observation.c system/Patient.rs")
    assert less.json()["scope"] == "system/Observation.c system/Patient.rs"
    for more in ("user/*.rs", "system/Observation.c identity:translate", "transport:readings:write"):
        refused = await machine.token(identity.http, scope=more)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")


async def test_services_get_theirs_by_derived_keys(identity: Identity) -> None:
    for name, row in scopes.SERVICES.items():
        answer = await identity.service(name).token(identity.http)
        claims = payload(answer.json()["access_token"])
        assert (claims["kind"], set(claims["scope"].split())) == ("service", set(row))
    stranger = Machine("service:health", identity.issuer)
    assert (await stranger.token(identity.http)).json()["error"] == "invalid_client"


async def test_a_token_says_what_it_is_for(identity: Identity) -> None:
    machine = await identity.registered(kind="hospital")
    asked = {"": "treatment", "public_health": "public_health", "research": "research"}
    for purpose, said in asked.items():
        more = {"purpose": purpose} if purpose else {}
        answer = await machine.token(identity.http, **more)
        assert payload(answer.json()["access_token"])["purpose"] == said
    for purpose in ("curiosity", "benefit_audit"):
        answer = await machine.token(identity.http, purpose=purpose)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert "treatment, emergency" in answer.json()["error_description"]
    own = await identity.service("social_security").token(identity.http)
    assert "purpose" not in payload(own.json()["access_token"])
    audits = await identity.service("social_security").token(identity.http, purpose="benefit_audit")
    assert payload(audits.json()["access_token"])["purpose"] == "benefit_audit"


async def test_a_replayed_assertion_is_refused_and_logged(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    machine = await identity.registered()
    form = machine.form(grant_type="client_credentials")
    assert (await identity.http.post("/oauth/token", data=form)).status_code == 200
    again = await identity.http.post("/oauth/token", data=form)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    reason = again.json()["error_description"]
    assert "used before" in reason
    assert [vars(line)["reason"] for line in caplog.records if line.message == "client refused"] == [reason]
    assert form["client_assertion"] not in str([vars(line) for line in caplog.records])


async def test_an_assertion_is_used_up_even_when_the_rest_fails(identity: Identity) -> None:
    machine = await identity.registered()
    form = machine.form(grant_type="client_credentials", scope="no:such:scope")
    assert (await identity.http.post("/oauth/token", data=form)).json()["error"] == "invalid_scope"
    del form["scope"]
    assert (await identity.http.post("/oauth/token", data=form)).json()["error"] == "invalid_client"


NOW = int(time.time())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"aud": "https://elsewhere.example/oauth/token"}, "aud"),
        ({"aud": ["http://127.0.0.1:8000/oauth/token", "https://elsewhere.example"]}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": None}, "aud"),
        ({"exp": NOW - 60}, "expired"),
        ({"exp": NOW + 86_400}, "300 s at most"),
        ({"exp": None}, "needs an exp"),
        ({"exp": "soon"}, "needs an exp"),
        ({"nbf": NOW + 86_400}, "not valid yet"),
        ({"jti": None}, "needs a jti"),
        ({"jti": "short"}, "needs a jti"),
        ({"sub": "somebody-else"}, "iss and sub"),
        ({"iss": "nobody-knows"}, "no client"),
        ({"iss": None}, "iss"),
        ({"iss": 7}, "iss"),
    ],
)
async def test_a_wrong_assertion_is_refused_with_its_reason(
    identity: Identity, changed: dict[str, Any], words: str
) -> None:
    machine = await identity.registered()
    form = machine.form(machine.assertion(**changed), grant_type="client_credentials")
    answer = await identity.http.post("/oauth/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text
    assert words in answer.json()["error_description"]


async def test_algorithm_confusion_is_refused(identity: Identity) -> None:
    """alg none, HS256 keyed with the public key in several spellings, and another key's signature."""
    machine = await identity.registered()
    public = machine.key.as_dict(private=False)
    unsigned = ".".join([*_segments({"alg": "none"}, machine.claims()), ""])
    forged = [unsigned, jwt.encode({"alg": "ES256"}, machine.claims(), ECKey.generate_key("P-256"))]
    spellings = [
        machine.key.as_pem(private=False),
        machine.key.as_der(private=False),
        str(public["x"]).encode(),
    ]
    for secret in spellings:
        signed = ".".join(_segments({"alg": "HS256"}, machine.claims()))
        mac = hmac.digest(secret, signed.encode(), "sha256")
        forged.append(f"{signed}.{_encoded(mac)}")
    embedded = ECKey.generate_key("P-256")
    header = {"alg": "ES256", "jwk": embedded.as_dict(private=False)}
    forged.append(jwt.encode(header, machine.claims(), embedded))
    for assertion in forged:
        form = machine.form(assertion, grant_type="client_credentials")
        answer = await identity.http.post("/oauth/token", data=form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert await identity.rows("select from used_assertion where client_id = $1", machine.client_id) == []


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _segments(header: dict[str, Any], claims: dict[str, Any]) -> list[str]:
    return [_encoded(json.dumps(part).encode()) for part in (header, claims)]


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        ({"content": b"{}", "headers": {"content-type": "application/json"}}, 400, "invalid_request"),
        ({"data": {}}, 400, "invalid_request"),
        ({"data": {"grant_type": "password", "client_id": "huimin-web"}}, 400, "unsupported_grant_type"),
        ({"data": {"grant_type": "client_credentials"}}, 401, "invalid_client"),
        (
            {"data": {"grant_type": "client_credentials", "client_id": "service:health"}},
            401,
            "invalid_client",
        ),
        (
            {"data": {"grant_type": "client_credentials", "client_id": "huimin-web"}},
            400,
            "unauthorized_client",
        ),
        ({"data": {"grant_type": ["client_credentials", "refresh_token"]}}, 400, "invalid_request"),
    ],
)
async def test_the_token_endpoint_answers_in_oauths_own_form(
    identity: Identity, sent: dict[str, Any], status: int, error: str
) -> None:
    answer = await identity.http.post("/oauth/token", **sent)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["cache-control"] == "no-store"


async def test_the_assertion_type_and_client_id_must_fit(identity: Identity) -> None:
    machine = await identity.registered()
    wrong_type = machine.form(grant_type="client_credentials", client_assertion_type="urn:other")
    wrong_name = machine.form(grant_type="client_credentials", client_id="service:health")
    for form in (wrong_type, wrong_name):
        answer = await identity.http.post("/oauth/token", data=form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_service_keys_differ_and_are_the_same_each_time(settings_of_servers: Settings) -> None:
    keys = {name: service_key(settings_of_servers, name).thumbprint() for name in scopes.SERVICES}
    assert len(set(keys.values())) == len(keys)
    assert keys == {name: service_key(settings_of_servers, name).thumbprint() for name in scopes.SERVICES}
