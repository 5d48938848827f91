"""Asking the gateway as an app would: queries over HTTP, subscriptions over graphql-transport-ws."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from services.stack.signin import sign_in
from services.stack.terminal import Refusal

PROTOCOL = Subprotocol("graphql-transport-ws")
SESSION_SECONDS = 240.0
ANSWER_SECONDS = 30.0
RECONNECT_SECONDS = 1.0


@dataclass
class Gateway:
    """One gateway, and the sessions of the accounts that were used.

    Attributes:
        password: of every demo account.
    """

    address: str
    password: str
    _sessions: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def session(self, username: str) -> str:
        """An access token of the account. Raises Refusal when it cannot sign in."""
        token, until = self._sessions.get(username, ("", 0.0))
        if time.monotonic() > until:
            async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as http:
                token = await sign_in(http, self.address, username, self.password)
            self._sessions[username] = token, time.monotonic() + SESSION_SECONDS
        return token

    async def ask(
        self, query: str, variables: dict[str, Any] | None = None, *, as_: str | None = None
    ) -> dict[str, Any]:
        """The whole answer, `data` and `errors`, as an account or as nobody."""
        headers = {"authorization": f"Bearer {await self.session(as_)}"} if as_ else {}
        body = {"query": query, "variables": variables or {}}
        try:
            async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as http:
                answer = await http.post(f"{self.address}/graphql", json=body, headers=headers)
                found: Any = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Refusal(f"网关没有回答 · the gateway did not answer: {error!r}") from error
        return found if isinstance(found, dict) else {"errors": [{"message": str(found)}]}

    async def subscribe(
        self, query: str, field_name: str, ready: asyncio.Event | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Messages for as long as they are read; a lost connection goes on after the last cursor.

        Args:
            query: takes a variable `after`, and asks for `cursor`.
            ready: set once the gateway has taken the subscription.
        """
        after: str | None = None
        while True:
            try:
                async for message in self._messages(query, field_name, after, ready):
                    after = message["cursor"]
                    yield message
            except (OSError, WebSocketException, TimeoutError):
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _messages(
        self, query: str, field_name: str, after: str | None, ready: asyncio.Event | None
    ) -> AsyncIterator[dict[str, Any]]:
        address = self.address.replace("http", "ws", 1) + "/graphql"
        async with connect(address, subprotocols=[PROTOCOL], proxy=None) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            payload = {"query": query, "variables": {"after": after}}
            async for text in socket:
                message = json.loads(text)
                match message["type"]:
                    case "connection_ack":
                        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
                        if ready is not None:
                            ready.set()
                    case "ping":
                        await socket.send(json.dumps({"type": "pong"}))
                    case "next":
                        if found := (message["payload"].get("data") or {}).get(field_name):
                            yield found
                    case "error" | "complete":
                        return


def words_of(errors: list[dict[str, Any]]) -> str:
    """The first errors of an answer, with their codes."""
    return "; ".join(
        f"{'.'.join(str(part) for part in error.get('path') or ['-'])}: "
        f"{(error.get('extensions') or {}).get('code', '')} {error.get('message', '')}".strip()
        for error in errors[:3]
    )
