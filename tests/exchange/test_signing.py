"""Signed reads: verified by hand from the RFC's text, and refused by the client when anything was changed."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.jwk import ECKey

from services.exchange.client import ExchangeClient
from services.kit import calls as kit_calls
from services.kit.calls import DomainError
from tests.exchange.conftest import AGREEMENT, DATASET, Exchange

READS = f"/exchange/reads/{DATASET}"


async def test_a_read_verifies_as_the_rfc_says(exchange: Exchange) -> None:
    """RFC 9421 section 2.5, the signature base written out here; RFC 9530 section 2 for the digest."""
    await exchange.with_deaths(2)
    http = await exchange.as_service("social_security")
    answer = await http.get(READS, params={"limit": 2})
    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    assert answer.headers["content-digest"] == f"sha-256=:{digest}:"
    label, _, parameters = answer.headers["signature-input"].partition("=")
    base = "\n".join(
        [
            '"@status": 200',
            f'"@path";req: {READS}',
            '"@query";req: ?limit=2',
            f'"x-huimin-agreement": {AGREEMENT}',
            '"x-huimin-consumer": social_security',
            f'"content-digest": sha-256=:{digest}:',
            f'"@signature-params": {parameters}',
        ]
    )
    [jwk] = (await http.get("/exchange/keys")).json()["keys"]
    assert f'keyid="{jwk["kid"]}"' in parameters
    assert "d" not in jwk
    raw = base64.b64decode(answer.headers["signature"].removeprefix(f"{label}=:").removesuffix(":"))
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    public: Any = ECKey.import_key(jwk).public_key
    public.verify(der, base.encode(), ECDSA(hashes.SHA256()))


def altered_body(answer: httpx.Response) -> None:
    answer._content = answer.content.replace(b"2026-01-01", b"2020-01-01")


def altered_body_and_digest(answer: httpx.Response) -> None:
    altered_body(answer)
    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    answer.headers["content-digest"] = f"sha-256=:{digest}:"


def other_agreement(answer: httpx.Response) -> None:
    answer.headers["x-huimin-agreement"] = "another"


def no_signature(answer: httpx.Response) -> None:
    del answer.headers["signature"]


def no_digest_covered(answer: httpx.Response) -> None:
    said = answer.headers["signature-input"]
    answer.headers["signature-input"] = said.replace(' "content-digest"', "")


def unknown_key(answer: httpx.Response) -> None:
    before, _, rest = answer.headers["signature-input"].partition('keyid="')
    answer.headers["signature-input"] = f'{before}keyid="x{rest}'


def another_question(answer: httpx.Response) -> None:
    answer.request.url = answer.request.url.copy_set_param("limit", 3)


@pytest.mark.parametrize(
    "change",
    [
        altered_body,
        altered_body_and_digest,
        other_agreement,
        no_signature,
        no_digest_covered,
        unknown_key,
        another_question,
    ],
)
async def test_what_was_changed_on_the_way_is_not_used(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, change: Callable[[httpx.Response], None]
) -> None:
    await exchange.with_deaths(2)
    calls = exchange.calls("social_security")
    assert len((await calls.client(ExchangeClient).page(DATASET)).rows) == 2
    genuine = kit_calls.Calls.request

    async def meddled(self: Any, service: str, method: str, path: str, **rest: Any) -> httpx.Response:
        answer = await genuine(self, service, method, path, **rest)
        if path.startswith("/exchange/reads/"):
            change(answer)
        return answer

    monkeypatch.setattr(kit_calls.Calls, "request", meddled)
    with pytest.raises(DomainError) as refused:
        await calls.client(ExchangeClient).page(DATASET)
    assert refused.value.problem == {"code": "bad_signature"}


async def test_what_another_consumer_was_answered_is_not_used(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same question, genuinely signed just now, but to somebody else."""
    await exchange.with_deaths(2)
    replayed = await (await exchange.as_service("social_security")).get(READS)
    assert replayed.status_code == 200
    genuine = kit_calls.Calls.request

    async def meddled(self: Any, service: str, method: str, path: str, **rest: Any) -> httpx.Response:
        if path.startswith("/exchange/reads/"):
            return replayed
        return await genuine(self, service, method, path, **rest)

    monkeypatch.setattr(kit_calls.Calls, "request", meddled)
    mine = exchange.calls("social_security").client(ExchangeClient)
    assert len([rows async for rows in mine.read(DATASET)]) == 1
    with pytest.raises(DomainError) as refused:
        await exchange.calls("education").client(ExchangeClient).page(DATASET)
    assert refused.value.problem == {"code": "bad_signature"}


async def test_a_new_key_is_asked_for(exchange: Exchange) -> None:
    await exchange.with_deaths(1)
    client = exchange.calls("social_security").client(ExchangeClient)
    await client.page(DATASET)
    kit = exchange.kit
    before = kit.parts["signing"]
    try:
        kit.parts["signing"] = ECKey.generate_key("P-256", private=True)
        kit.parts["signing"].ensure_kid()
        assert len((await client.page(DATASET)).rows) == 1
    finally:
        kit.parts["signing"] = before
