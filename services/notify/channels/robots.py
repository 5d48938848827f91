"""Group robots of WeCom (企业微信) and DingTalk (钉钉): a markdown message posted to the robot's own address.

Both answer 200 whatever happened; `errcode` says it. Both take 20 messages a minute for each robot.
Sources: developer.work.weixin.qq.com/document/path/91770; open.dingtalk.com, "自定义机器人接入".
"""

import base64
import hashlib
import hmac
import time
from typing import Any

import orjson
from yarl import URL

from services.notify.channels.attempt import DELIVERED, Errand, Outcome, Result, result_of, shortened
from services.notify.channels.guard import Outgoing

SPACING_S = 3.0
"""Between two messages of one robot: 20 a minute."""
WECOM_BYTES = 4096
DINGTALK_BYTES = 20_000
TITLE_BYTES = 200
_TOO_FAST = {45009: 60.0, 130101: 600.0, 410100: 600.0}
"""Codes for "too often", and for how long the robot then takes nothing, in seconds."""
_JSON = {"content-type": "application/json"}


async def send_wecom(outgoing: Outgoing, errand: Errand) -> Result:
    title, body = errand.said
    text = shortened(f"**{title}**\n{body}", WECOM_BYTES)
    message = {"msgtype": "markdown", "markdown": {"content": text}}
    return await _send(outgoing, errand.target["url"], message)


async def send_dingtalk(outgoing: Outgoing, errand: Errand) -> Result:
    title, body = errand.said
    text = shortened(f"**{title}**\n\n{body}", DINGTALK_BYTES)
    message = {"msgtype": "markdown", "markdown": {"title": shortened(title, TITLE_BYTES), "text": text}}
    url = URL(errand.target["url"])
    secret = errand.target.get("secret")
    if secret:
        now = int(time.time() * 1000)
        url = url.update_query(timestamp=str(now), sign=dingtalk_sign(secret, now))
    return await _send(outgoing, str(url), message)


def dingtalk_sign(secret: str, timestamp_ms: int) -> str:
    """base64 of the HMAC-SHA-256 of `timestamp\\nsecret` under the secret itself (加签)."""
    signed = f"{timestamp_ms}\n{secret}".encode()
    return base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()


async def _send(outgoing: Outgoing, url: str, message: dict[str, Any]) -> Result:
    answer = await outgoing.post(url, orjson.dumps(message), _JSON)
    result = result_of(answer)
    if result is not DELIVERED:
        return result
    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        said = None
    code = said.get("errcode") if isinstance(said, dict) else None
    if type(code) is not int:
        return Result(Outcome.AGAIN, "answered without an errcode: this is no robot's address")
    if code == 0:
        return DELIVERED
    return Result(Outcome.AGAIN, f"errcode {code}", _TOO_FAST.get(code))
