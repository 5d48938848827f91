"""Tokens at the door: refused ones first, each with its reason."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from services.kit.principals import ANONYMOUS, UNGUARDED, Kind, Principal, TokenVerifier, refusal, seal
from services.kit.problems import Problem

ISSUER = "http://127.0.0.1:8000"
SEAL = b"\x01" * 32
KEY = ECKey.generate_key("P-256", {"kid": "one", "use": "sig"}, private=True)
OTHER = ECKey.generate_key("P-256", {"kid": "one"}, private=True)


class Published:
    """The issuer's key set, counting how often it is asked for."""

    def __init__(self, *keys: ECKey) -> None:
        self.keys = list(keys)
        self.asked = 0

    async def fetch(self) -> Any:
        self.asked += 1
        return KeySet(list(self.keys)).as_dict(private=False)


def verifier(published: Published | None = None, **given: Any) -> TokenVerifier:
    published = published or Published(KEY)
    settings = {"issuer": ISSUER, "audience": "transport", "seal_key": SEAL} | given
    return TokenVerifier(fetch_keys=published.fetch, **settings)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {
        "iss": ISSUER,
        "aud": ["transport"],
        "sub": "gate-1",
        "client_id": "gate-1",
        "kind": "organisation",
        "scope": "transport:readings:write",
        "iat": now,
        "exp": now + 300,
    } | changes
    return {name: value for name, value in found.items() if value is not None}


def token(key: ECKey = KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(header or {"alg": "ES256", "kid": "one"}, claims(**changes), key)


def encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The reasons of the log lines about refused tokens."""
    return [vars(line)["reason"] for line in caplog.records if line.message == "token refused"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        pytest.param(lambda: token(aud=["health"]), "another audience", id="wrong audience"),
        pytest.param(lambda: token(aud=None), "another audience", id="no audience"),
        pytest.param(lambda: token(iss="http://elsewhere"), "issuer", id="wrong issuer"),
        pytest.param(lambda: token(exp=int(time.time()) - 60), "expired", id="expired"),
        pytest.param(lambda: token(exp=None), "expired", id="no expiry"),
        pytest.param(lambda: token(nbf=int(time.time()) + 600), "not valid yet", id="not yet valid"),
        pytest.param(lambda: token(OTHER), "cannot be verified", id="another's key under the same kid"),
        pytest.param(lambda: "a.b.c", "cannot be verified", id="not a token"),
        pytest.param(
            lambda: token(sid=seal("h1_x", b"\x02" * 32)),
            "sealed to another",
            id="another service's sector id",
        ),
    ],
)
async def test_a_token_that_does_not_hold_is_refused_with_its_reason_and_logged(
    made: Callable[[], str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    sent = made()
    with pytest.raises(Problem) as refused:
        await verifier().principal(f"Bearer {sent}")
    assert refused.value.status == 401
    assert reason in refused.value.detail
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer ")
    assert told(caplog) == [refused.value.detail]
    # Neither the token nor a part of it that would be worth having.
    written = " ".join(str(vars(line)) for line in caplog.records)
    assert not any(part in written for part in sent.split(".") if len(part) > 10)


async def test_algorithm_confusion_with_the_public_key_as_hmac_secret_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # joserfc refuses to make such a token, so an attacker's is made by hand.
    signed = f"{encoded({'alg': 'HS256', 'kid': 'one'})}.{encoded(claims())}"
    mac = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    forged = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(Problem, match="cannot be verified"):
        await verifier().principal(f"Bearer {forged}")
    assert len(told(caplog)) == 1


async def test_an_unsigned_token_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Problem, match="cannot be verified"):
        await verifier().principal(f"Bearer {encoded({'alg': 'none'})}.{encoded(claims())}.")
    assert len(told(caplog)) == 1


async def test_another_scheme_is_refused() -> None:
    with pytest.raises(Problem, match="Authorization: Bearer"):
        await verifier().principal("Basic abc")


async def test_without_a_token_the_caller_is_anonymous() -> None:
    assert await verifier().principal(None) is ANONYMOUS


async def test_a_token_carries_who_and_what_and_its_sector_id_unsealed() -> None:
    sent = token(
        kind="person", org="H1", roles=["auditor"], areas=["3301"], sid=seal("h1_abc", SEAL), purpose="TREAT"
    )
    found = await verifier().principal(f"Bearer {sent}")
    assert (found.kind, found.organisation, found.sector_id, found.purpose) == (
        "person",
        "H1",
        "h1_abc",
        "TREAT",
    )
    assert found.roles == {"auditor"}
    assert found.may("transport:readings:write")
    assert not found.may("transport:flows:read")
    assert found.may_area("330106")
    assert not found.may_area("310101")
    assert sent not in repr(found)


async def test_every_id_of_a_person_is_unsealed_the_one_given_out_first() -> None:
    found = await verifier().principal(f"Bearer {token(kind='person', sid=seal('h1_b h1_a', SEAL))}")
    assert (found.sector_id, found.sector_ids) == ("h1_b", ("h1_b", "h1_a"))
    assert (ANONYMOUS.sector_id, ANONYMOUS.sector_ids) == (None, ())


@pytest.mark.parametrize(
    ("kind", "areas", "own", "other", "nowhere"),
    [
        ("staff", ("330100",), True, False, False),
        ("staff", ("000000",), True, True, True),
        ("staff", (), False, False, False),
        ("organisation", (), True, True, True),
    ],
)
def test_rights_by_area(kind: Kind, areas: tuple[str, ...], own: bool, other: bool, nowhere: bool) -> None:
    who = Principal(kind=kind, subject="somebody", areas=areas)
    assert (who.may_area("330106"), who.may_area("310101"), who.may_area(None)) == (own, other, nowhere)


async def test_a_rotated_key_is_fetched_when_its_first_token_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(KEY)
    checking = verifier(published)
    await checking.principal(f"Bearer {token()}")
    new = ECKey.generate_key("P-256", {"kid": "two"}, private=True)
    published.keys.append(new)
    monkeypatch.setattr(checking, "_fetched_at", time.monotonic() - 2)
    found = await checking.principal(f"Bearer {token(new, {'alg': 'ES256', 'kid': 'two'})}")
    assert found.subject == "gate-1"
    assert published.asked == 2


async def test_unknown_keys_do_not_make_us_ask_the_issuer_again_and_again() -> None:
    published = Published(KEY)
    checking = verifier(published)
    await checking.principal(f"Bearer {token()}")
    for _ in range(20):
        with pytest.raises(Problem):
            await checking.principal(f"Bearer {token(OTHER)}x")
    assert published.asked == 1


async def test_no_auth_lets_everybody_do_everything() -> None:
    found = await verifier(no_auth=True).principal(None)
    assert found is UNGUARDED
    assert refusal(found, ["anything"], ["person"]) is None


def test_refusals_name_the_scope_or_the_kind_that_is_missing() -> None:
    somebody = Principal(kind="person", subject="p", scopes=frozenset({"a"}))
    assert refusal(somebody, ["a"], []) is None
    lacking = refusal(somebody, ["b", "c"], [])
    assert lacking is not None
    assert (lacking.status, lacking.code) == (403, "insufficient_scope")
    assert "b or c" in lacking.detail
    wrong_kind = refusal(somebody, ["a"], ["staff"])
    assert wrong_kind is not None
    assert wrong_kind.status == 403
    nobody = refusal(ANONYMOUS, ["a"], [])
    assert nobody is not None
    assert nobody.status == 401
