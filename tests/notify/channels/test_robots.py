"""Group robots: the form each takes, its limits, and the failures it hides in a 200."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import pytest

from services.notify.channels import robots
from services.notify.channels.attempt import Errand, Outcome, Result
from services.notify.channels.guard import Outgoing
from tests.notify.channels.receivers import Receiver, errand, saying

Sending = Callable[[Outgoing, Errand], Awaitable[Result]]
OK = saying(200, b'{"errcode":0,"errmsg":"ok"}')


async def test_wecom_gets_markdown_at_its_own_address(outgoing: Outgoing, receiver: Receiver) -> None:
    receiver.answer = OK
    found = await robots.send_wecom(outgoing, errand({"url": f"{receiver.url}/cgi-bin/webhook/send?key=k1"}))
    assert found.outcome is Outcome.DELIVERED
    [got] = receiver.got
    assert (got.path, got.query) == ("/cgi-bin/webhook/send", {"key": "k1"})
    message = json.loads(got.body)
    assert message["msgtype"] == "markdown"
    assert message["markdown"]["content"] == "**断桥：橙色预警**\n断桥有 90 人。"


async def test_dingtalk_is_signed_for_the_moment(outgoing: Outgoing, receiver: Receiver) -> None:
    receiver.answer = OK
    secret = "SEC000000000000000000000"
    target = {"url": f"{receiver.url}/robot/send?access_token=t1", "secret": secret}
    assert (await robots.send_dingtalk(outgoing, errand(target))).outcome is Outcome.DELIVERED
    [got] = receiver.got
    assert got.query["access_token"] == "t1"
    stamp = got.query["timestamp"]
    assert abs(int(stamp) / 1000 - time.time()) < 60
    # As DingTalk's own documentation computes it.
    digest = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), digestmod=hashlib.sha256).digest()
    assert unquote(got.query["sign"]) == base64.b64encode(digest).decode()
    message = json.loads(got.body)
    assert (message["msgtype"], message["markdown"]["title"]) == ("markdown", "断桥：橙色预警")


async def test_dingtalk_without_a_secret_is_not_signed(outgoing: Outgoing, receiver: Receiver) -> None:
    receiver.answer = OK
    await robots.send_dingtalk(outgoing, errand({"url": f"{receiver.url}/?access_token=t1", "secret": None}))
    assert receiver.got[0].query == {"access_token": "t1"}


@pytest.mark.parametrize(
    ("body", "outcome", "rest_s"),
    [
        (b'{"errcode":0}', "delivered", None),
        (b'{"errcode":45009,"errmsg":"api freq out of limit"}', "again", 60.0),
        (b'{"errcode":130101,"errmsg":"send too fast"}', "again", 600.0),
        (b'{"errcode":310000,"errmsg":"sign not match"}', "again", None),
        (b'{"errcode":93000,"errmsg":"invalid webhook url"}', "again", None),
        (b"<html>welcome</html>", "again", None),
        (b"[]", "again", None),
        (b'{"errcode":false}', "again", None),
        (b"", "again", None),
    ],
)
@pytest.mark.parametrize("send", [robots.send_wecom, robots.send_dingtalk])
async def test_a_200_that_says_otherwise_is_a_failure(
    outgoing: Outgoing, receiver: Receiver, send: Sending, body: bytes, outcome: str, rest_s: float | None
) -> None:
    receiver.answer = saying(200, body)
    found = await send(outgoing, errand({"url": receiver.url}))
    assert (found.outcome, found.rest_s) == (outcome, rest_s)


async def test_messages_keep_to_the_robots_sizes(outgoing: Outgoing, receiver: Receiver) -> None:
    receiver.answer = OK
    long = errand({"url": receiver.url}, words={"zh": ("标题" * 500, "很长" * 9000)})
    await robots.send_wecom(outgoing, long)
    await robots.send_dingtalk(outgoing, long)
    wecom, dingtalk = (json.loads(got.body)["markdown"] for got in receiver.got)
    assert len(wecom["content"].encode()) <= 4096
    assert len(dingtalk["text"].encode()) <= 20_000
    assert len(dingtalk["title"].encode()) <= 200
