"""Signed webhooks, checked by the standard's own package; what answers mean."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.notify.channels import webhooks
from services.notify.channels.attempt import Errand, Outcome, shortened
from services.notify.channels.guard import Outgoing
from tests.notify.channels.receivers import Got, Receiver, errand, saying


def hook(receiver: Receiver, *secrets: tuple[str, float | None]) -> Errand:
    return errand(
        {"url": f"{receiver.url}/in", "secrets": [{"secret": one, "until": until} for one, until in secrets]}
    )


def believed(got: Got, secret: str) -> bool:
    try:
        Webhook(secret).verify(got.body, got.headers)
    except WebhookVerificationError:
        return False
    return True


async def test_the_standards_own_package_believes_it(outgoing: Outgoing, receiver: Receiver) -> None:
    secret = webhooks.new_secret()
    one = hook(receiver, (secret, None))
    assert (await webhooks.send(outgoing, one)).outcome is Outcome.DELIVERED
    [got] = receiver.got
    assert believed(got, secret)
    assert not believed(got, webhooks.new_secret())
    assert not believed(Got(got.path, got.query, got.headers, got.body.replace(b"orange", b"red"), 0), secret)
    assert (got.headers["webhook-id"], json.loads(got.body)) == (str(one.told), one.event)
    assert got.headers["content-type"] == "application/cloudevents+json"


def test_a_secret_is_of_the_standards_form() -> None:
    secret = webhooks.new_secret()
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64


async def test_both_secrets_are_signed_with_until_the_old_one_ends(
    outgoing: Outgoing, receiver: Receiver
) -> None:
    old, new = webhooks.new_secret(), webhooks.new_secret()
    await webhooks.send(outgoing, hook(receiver, (old, time.time() + 60), (new, None)))
    await webhooks.send(outgoing, hook(receiver, (old, time.time() - 1), (new, None)))
    during, after = receiver.got
    assert (believed(during, old), believed(during, new)) == (True, True)
    assert (believed(after, old), believed(after, new)) == (False, True)


@pytest.mark.parametrize("status", [300, 302, 307, 400, 401, 404, 429, 500, 503])
async def test_all_but_2xx_and_410_is_tried_again(
    outgoing: Outgoing, receiver: Receiver, status: int
) -> None:
    receiver.answer = saying(status)
    found = await webhooks.send(outgoing, hook(receiver, (webhooks.new_secret(), None)))
    assert found.outcome is Outcome.AGAIN
    assert str(status) in (found.reason or "")


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("120", 120, 120),
        ("0", 0, 0),
        ("9" * 9, 86400, 86400),
        (timedelta(hours=1), 3500, 3600),
        (timedelta(hours=-1), 0, 0),
    ],
)
async def test_retry_after_is_understood_in_both_forms(
    outgoing: Outgoing, receiver: Receiver, said: str | timedelta, least: float, most: float
) -> None:
    if isinstance(said, timedelta):
        said = format_datetime(datetime.now(UTC) + said, usegmt=True)
    receiver.answer = saying(503, retry_after=said)
    found = await webhooks.send(outgoing, hook(receiver, (webhooks.new_secret(), None)))
    assert found.rest_s is not None
    assert least <= found.rest_s <= most


@pytest.mark.parametrize("said", ["soon", "-5", "1e9", "٣", "", "9" * 400])
async def test_retry_after_that_is_none_is_passed_over(
    outgoing: Outgoing, receiver: Receiver, said: str
) -> None:
    receiver.answer = saying(503, retry_after=said)
    found = await webhooks.send(outgoing, hook(receiver, (webhooks.new_secret(), None)))
    assert (found.outcome, found.rest_s) == (Outcome.AGAIN, None)


@pytest.mark.parametrize(
    ("text", "limit"), [("短", 3), ("很长的一句话", 9), ("🎏🎏", 7), ("abc", 3), ("abcd", 3)]
)
def test_shortening_breaks_no_character(text: str, limit: int) -> None:
    found = shortened(text, limit)
    assert len(found.encode()) <= limit
    assert found == text or found.endswith("…")
