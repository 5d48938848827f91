"""Signing in as a person would, without a browser: authorization code with PKCE, over the page's form."""

import base64
import hashlib
import re
import secrets
from urllib.parse import parse_qs, urlsplit

import httpx

from services.stack.terminal import Refusal

WEB_CLIENT = "huimin-web"
CALLBACK = "/gateway/callback"
_HIDDEN = re.compile(r'name="request" value="([^"]+)"')


async def sign_in(http: httpx.AsyncClient, public_url: str, username: str, password: str) -> str:
    """An access token of the person's session, good at the gateway.

    Args:
        http: keeps cookies, as a browser does; one client a person.

    Raises:
        Refusal: the sign-in page did not let this account in.
    """
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    redirect = f"{public_url}{CALLBACK}"
    asked = {
        "response_type": "code",
        "client_id": WEB_CLIENT,
        "redirect_uri": redirect,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": secrets.token_urlsafe(8),
    }
    page = await http.get(f"{public_url}/oauth/authorize", params=asked)
    hidden = _HIDDEN.search(page.text)
    if hidden is None:
        raise Refusal(f"登录页不可用 · the sign-in page is not usable (HTTP {page.status_code})")
    form = {"request": hidden[1], "username": username, "password": password}
    answer = await http.post(f"{public_url}/oauth/authorize", data=form)
    code = parse_qs(urlsplit(answer.headers.get("location", "")).query).get("code")
    if not code:
        raise Refusal(f"{username} 无法登录 · cannot sign in (HTTP {answer.status_code})")
    grant = {
        "grant_type": "authorization_code",
        "client_id": WEB_CLIENT,
        "code": code[0],
        "redirect_uri": redirect,
        "code_verifier": verifier,
    }
    granted = await http.post(f"{public_url}/oauth/token", data=grant)
    if granted.status_code != 200:
        raise Refusal(f"{username} 无法取得会话 · got no session: {granted.text[:200]}")
    return str(granted.json()["access_token"])
