"""Exchange for one service (RFC 8693), introspection, revocation, the published keys, and forged tokens."""

import asyncio
import json
import re
import time
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from services.identity.keys import SigningKeys
from services.identity.repository import access
from services.kit.principals import Principal, TokenVerifier, unseal
from services.kit.problems import Problem
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, Browser, Machine, citizen_number, exchanged, person
from tests.identity.test_clients import payload

NUMBER = citizen_number()


async def signed_in(identity: Identity, username: str = "zhang", **account: Any) -> dict[str, Any]:
    await identity.account(username, **account)
    return await Browser(identity.http, scope="me").session(username)


def verifier(identity: Identity, service: str) -> TokenVerifier:
    """What stands at the other service's door."""
    return TokenVerifier(
        issuer=identity.issuer,
        audience=service,
        seal_key=identity.kit.settings.secret_for(service, "seal"),
        fetch_keys=identity.kit.calls.fetch_keys,
    )


async def test_the_gateway_gets_a_short_token_with_the_id_sealed_to_the_one_service(
    identity: Identity,
) -> None:
    session = await signed_in(identity, identifier=NUMBER, areas=["330106"])
    answer = await exchanged(identity.http, identity.service("gateway"), session["access_token"], "health")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert (body["expires_in"] <= 300, body["scope"]) == (True, "patient/*.rs")
    claims = payload(body["access_token"])
    assert claims["aud"] == ["health"]
    assert claims["act"] == {"sub": "service:gateway"}
    assert "ses" not in claims
    health = await identity.as_service("health")
    known = await health.post("/identity/resolve", json={"people": [person("a", (CITIZEN_NUMBER, NUMBER))]})
    sector_id = known.json()["people"][0]["sector_id"]
    assert sector_id not in answer.text
    seal = identity.kit.settings.secret_for
    assert unseal(claims["sid"], seal("health", "seal")) == sector_id
    with pytest.raises(JoseError):
        unseal(claims["sid"], seal("education", "seal"))
    who = await verifier(identity, "health").verify(body["access_token"])
    assert who == Principal(
        kind="person",
        subject=payload(body["access_token"])["sub"],
        client_id="huimin-web",
        scopes=frozenset({"patient/*.rs"}),
        areas=("330106",),
        purpose="own_records",
        sector_ids=(sector_id,),
        expires_at=float(claims["exp"]),
        token=body["access_token"],
    )


async def test_each_exchange_of_a_persons_id_is_a_leaf(identity: Identity) -> None:
    session = await signed_in(identity, identifier=NUMBER)
    gateway = identity.service("gateway")
    asked = ("health", "education", "notify", "identity")
    for service in asked:
        assert (await exchanged(identity.http, gateway, session["access_token"], service)).status_code == 200
    leaves = await identity.leaves("session.exchanged")
    assert [leaf["resource"] for leaf in leaves] == [f"sectors/{service}" for service in asked]
    assert len({leaf["subject"] for leaf in leaves}) == 1
    assert {(leaf["client"], leaf["purpose"]) for leaf in leaves} == {("service:gateway", "own_records")}


async def test_each_service_knows_a_person_under_another_account(identity: Identity) -> None:
    """Or the actors in two services' leaves would join their dumps."""
    session = await signed_in(identity, identifier=NUMBER)
    gateway, subjects = identity.service("gateway"), []
    for service in ("health", "social_security", "education", "transport", "exchange", "notify", "health"):
        answer = await exchanged(identity.http, gateway, session["access_token"], service)
        subjects.append(payload(answer.json()["access_token"])["sub"])
    assert len(set(subjects)) == 6
    assert subjects[0] == subjects[-1], "the same one every time"
    account = payload(session["access_token"])["sub"]
    assert not any(account in subject for subject in subjects)


SECTOR_ID = re.compile(r"h1_[A-Z2-7]{26}")


async def test_no_answer_to_the_gateway_holds_a_sector_id_in_clear(identity: Identity) -> None:
    """Neither the answers nor anything in their tokens that can be read without a service's key."""
    session = await signed_in(identity, identifier=NUMBER)
    gateway, told = identity.service("gateway"), [json.dumps(session)]
    for service in ("health", "social_security", "education", "transport", "exchange", "notify", "identity"):
        answer = await exchanged(identity.http, gateway, session["access_token"], service)
        token = answer.json()["access_token"]
        told += [answer.text, json.dumps(payload(token))]
        form = gateway.form(token=token)
        told.append((await identity.http.post("/oauth/introspect", data=form)).text)
        if service == "identity":
            me = await identity.house.client("identity", token=token)
            told.append((await me.get("/identity/persons/me")).text)
    ids = await identity.rows("select id from vault.sector_id")
    assert len(ids) >= 6
    for text in told:
        assert SECTOR_ID.search(text) is None
        assert not any(row["id"] in text for row in ids)


@pytest.mark.parametrize("service", ["identity", "notify", "transport", "exchange", "social_security"])
async def test_a_citizen_reaches_every_service(identity: Identity, service: str) -> None:
    session = await signed_in(identity, identifier=NUMBER)
    answer = await exchanged(identity.http, identity.service("gateway"), session["access_token"], service)
    claims = payload(answer.json()["access_token"])
    assert claims["aud"] == [service]
    assert all(scope.split(":")[0] == service for scope in claims["scope"].split())
    assert ("sid" in claims) == (service != "identity")
    assert claims["purpose"] == "own_records"


async def test_staff_carry_no_sector_id_and_only_their_roles(identity: Identity) -> None:
    session = await signed_in(
        identity, "li", kind="staff", roles=["auditor"], areas=["330100"], identifier=NUMBER
    )
    gateway = identity.service("gateway")
    audit = await exchanged(identity.http, gateway, session["access_token"], "social_security")
    claims = payload(audit.json()["access_token"])
    assert (claims["kind"], claims["roles"], "sid" in claims) == ("staff", ["auditor"], False)
    assert (claims["purpose"], claims["areas"]) == ("benefit_audit", ["330100"])
    assert claims["scope"] == "social_security:audits:run social_security:findings:read"
    refused = await exchanged(identity.http, gateway, session["access_token"], "health")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")


async def test_only_the_gateway_exchanges(identity: Identity) -> None:
    session = await signed_in(identity)
    hospital = await identity.registered("hospital")
    for machine in (identity.service("health"), hospital):
        answer = await exchanged(identity.http, machine, session["access_token"], "health")
        assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


@pytest.mark.parametrize("audience", ["gateway", "stack", "moon", ""])
async def test_an_unknown_target_is_refused(identity: Identity, audience: str) -> None:
    session = await signed_in(identity)
    answer = await exchanged(identity.http, identity.service("gateway"), session["access_token"], audience)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


async def test_only_a_living_session_is_exchanged(identity: Identity) -> None:
    gateway = identity.service("gateway")
    session = await signed_in(identity, identifier=NUMBER)
    short = (await exchanged(identity.http, gateway, session["access_token"], "health")).json()[
        "access_token"
    ]
    own = (await gateway.token(identity.http)).json()["access_token"]
    for token in (short, own, session["refresh_token"], "nonsense", ""):
        answer = await exchanged(identity.http, gateway, token, "education")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), token
    await revoke(identity, session["refresh_token"])
    answer = await exchanged(identity.http, gateway, session["access_token"], "education")
    assert answer.json()["error"] == "invalid_grant"


async def revoke(identity: Identity, token: str, client_id: str = "huimin-web") -> httpx.Response:
    return await identity.http.post("/oauth/revoke", data={"client_id": client_id, "token": token})


async def introspected(identity: Identity, token: str, machine: Machine | None = None) -> dict[str, Any]:
    form = (machine or identity.service("gateway")).form(token=token)
    answer = await identity.http.post("/oauth/introspect", data=form)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_introspection_tells_what_a_token_still_means(identity: Identity) -> None:
    session = await signed_in(identity)
    machine = await identity.registered("gate")
    other = await identity.registered("gate")
    token = (await machine.token(identity.http)).json()["access_token"]
    found = await introspected(identity, token)
    assert (found["active"], found["client_id"], found["scope"]) == (
        True,
        machine.client_id,
        "transport:readings:write",
    )
    assert (await introspected(identity, token, machine))["active"] is True
    assert await introspected(identity, token, other) == {"active": False}
    assert await introspected(identity, "nonsense") == {"active": False}
    assert (await introspected(identity, session["access_token"]))["kind"] == "person"
    assert (await introspected(identity, session["refresh_token"]))["active"] is True
    await revoke(identity, session["refresh_token"])
    assert await introspected(identity, session["access_token"]) == {"active": False}
    assert await introspected(identity, session["refresh_token"]) == {"active": False}


async def test_introspection_is_not_for_the_nameless(identity: Identity) -> None:
    answer = await identity.http.post("/oauth/introspect", data={"client_id": "huimin-web", "token": "x"})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_token_is_revoked_by_its_own_client(identity: Identity) -> None:
    machine, other = await identity.registered("gate"), await identity.registered("gate")
    token = (await machine.token(identity.http)).json()["access_token"]
    for client, active in ((other, True), (machine, False)):
        answer = await identity.http.post("/oauth/revoke", data=client.form(token=token))
        assert answer.status_code == 200
        assert (await introspected(identity, token))["active"] is active
    assert (await revoke(identity, "unknown-token")).status_code == 200


async def test_metadata_points_at_doors_that_are_there(identity: Identity) -> None:
    for name in ("openid-configuration", "oauth-authorization-server"):
        found = (await identity.http.get(f"/.well-known/{name}")).json()
        assert found["issuer"] == identity.issuer
        assert found["code_challenge_methods_supported"] == ["S256"]
        assert found["token_endpoint_auth_signing_alg_values_supported"] == ["ES256"]
        for member, method in (
            ("authorization_endpoint", "GET"),
            ("token_endpoint", "POST"),
            ("introspection_endpoint", "POST"),
            ("revocation_endpoint", "POST"),
            ("jwks_uri", "GET"),
        ):
            path = found[member].removeprefix(identity.issuer)
            assert (await identity.http.request(method, path)).status_code not in {404, 405}


async def test_published_keys_are_public_and_good_for_signatures(identity: Identity) -> None:
    answer = await identity.http.get("/.well-known/jwks.json")
    keys = answer.json()["keys"]
    assert len(keys) >= 2
    assert all(
        (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256") for key in keys
    )
    assert not any("d" in key for key in keys)


async def test_rotation_keeps_old_tokens_good_and_announces_new_keys_first(identity: Identity) -> None:
    machine = await identity.registered("gate")
    before = (await machine.token(identity.http)).json()["access_token"]
    announced = {key["kid"] for key in (await identity.http.get("/.well-known/jwks.json")).json()["keys"]}
    at_the_door = verifier(identity, "transport")
    await at_the_door.verify(before)
    rotated = await identity.admin.post("/identity/keys/rotation")
    states = {key["kid"]: key["state"] for key in rotated.json()["keys"]}
    assert sorted(set(states.values())) == ["active", "next", "retired"]
    after = (await machine.token(identity.http)).json()["access_token"]
    signer = KeySet.import_key_set((await identity.http.get("/.well-known/jwks.json")).json())
    assert jwt.decode(after, signer, algorithms=["ES256"]).header["kid"] in announced
    assert states[jwt.decode(after, signer).header["kid"]] == "active"
    assert states[jwt.decode(before, signer).header["kid"]] == "retired"
    # A verifier that read the keys before the rotation needs no new look to believe either.
    for token in (before, after):
        await at_the_door.verify(token)


async def test_old_keys_rotate_by_themselves_and_retired_ones_go(identity: Identity) -> None:
    keys: SigningKeys = identity.kit.parts["keys"]
    assert await keys.rotate_when_due() is False
    async with identity.kit.db.transaction() as tx:
        await tx.execute(
            "update signing_key set activated_at = now() - interval '31 days' where state = 'active'"
        )
    assert sorted(await asyncio.gather(*(keys.rotate_when_due() for _ in range(3)))) == [False, False, True]
    async with identity.kit.db.transaction() as tx:
        await tx.execute(
            "update signing_key set retired_at = now() - interval '2 hours' where state = 'retired'"
        )
    await keys.rotate_when_due()
    rows = await identity.rows("select state from signing_key order by state")
    assert [row["state"] for row in rows] == ["active", "next"]


async def test_private_keys_are_kept_encrypted(identity: Identity) -> None:
    rows = await identity.rows("select public_jwk, private_enc, signing_key::text as row from signing_key")
    signer = await identity.kit.parts["keys"].signer()
    secret = str(signer.as_dict(private=True)["d"])
    assert all("d" not in row["public_jwk"] for row in rows)
    assert all(secret.encode() not in row["private_enc"] and secret not in row["row"] for row in rows)


async def test_forged_and_altered_tokens_are_refused_at_every_door(identity: Identity) -> None:
    """alg none, HS256 with the public key, an unknown kid, a borrowed kid, a cut one, an expired one."""
    machine = await identity.registered("gate")
    token = (await machine.token(identity.http)).json()["access_token"]
    header, body, signature = token.split(".")
    signer: ECKey = await identity.kit.parts["keys"].signer()
    stranger = ECKey.generate_key("P-256")
    claims = payload(token)
    expired = {**claims, "exp": int(time.time()) - 60}
    elsewhere = {**claims, "iss": "https://elsewhere.example"}
    forged = [
        f"{header}.{body}.",
        f"{header}.{body[:-4]}AAAA.{signature}",
        jwt.encode({"alg": "ES256", "kid": "unknown"}, claims, stranger),
        jwt.encode({"alg": "ES256", "kid": signer.kid}, claims, stranger),
        *(jwt.encode({"alg": "ES256", "kid": signer.kid}, said, signer) for said in (expired, elsewhere)),
        "a.b.c",
        "not-a-token",
    ]
    at_the_door = verifier(identity, "transport")
    await at_the_door.verify(token)
    for bad in forged:
        with pytest.raises(Problem) as refused:
            await at_the_door.verify(bad)
        assert refused.value.status == 401, bad
        assert refused.value.headers["WWW-Authenticate"].startswith("Bearer error=")
        assert await introspected(identity, bad) == {"active": False}


async def test_an_id_token_opens_no_door(identity: Identity) -> None:
    await identity.account("zhang", identifier=NUMBER)
    session = await Browser(identity.http, scope="openid me").session("zhang")
    gateway = identity.service("gateway")
    assert (await exchanged(identity.http, gateway, session["id_token"], "health")).json()[
        "error"
    ] == "invalid_grant"
    assert await introspected(identity, session["id_token"]) == {"active": False}


async def test_what_expired_is_forgotten(identity: Identity) -> None:
    await signed_in(identity)
    machine = await identity.registered("gate")
    await machine.token(identity.http)
    async with identity.kit.db.transaction() as tx:
        await tx.execute("update used_assertion set expires_at = now() - interval '2 minutes'")
        await tx.execute("update session set expires_at = now() - interval '2 days'")
        await access.purge(tx)
    for table in ("used_assertion", "session", "refresh_token", "authorization_code"):
        assert await identity.rows(f"select from {table}") == []
