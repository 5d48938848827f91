"""What may be called from here on somebody else's word: public addresses over TLS, and what a setting names.

Every connection goes through `Guard.resolve`, which hands out only addresses it has judged; what is connected
to is what was judged, so that an answer of DNS that changes afterwards changes nothing. Host and TLS name
stay those of the URL. Redirects are answers, not orders. Python's `ipaddress.is_global` alone would let
through what embeds an IPv4 address (RFC 4291 section 2.5.5, RFC 6052, RFC 3056) and multicast.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

URL_MAX = 2000
READ_BYTES = 4096
DEADLINE_S = 10.0
CONNECT_S = 5.0
KEPT_ALIVE_S = 4.0
"""Shorter than servers keep an idle connection, so that none is used that they have just let go."""
RESOLVE_KEPT_S = 10

_GLOBAL_UNICAST = ip_network("2000::/3")
_NOT_ORDINARY = [
    # Teredo and other protocols, 6to4, documentation; 6to4's relays. Not in 2000::/3: NAT64, IPv4-mapped.
    *(ip_network(net) for net in ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")),
    ip_network("192.88.99.0/24"),
    ip_network("192.0.0.0/24"),  # protocol assignments, where some clouds keep metadata
]
_METADATA = {ip_address("168.63.129.16")}
"""Public by its number, yet each virtual machine's own host answers there."""


class RefusedAddressError(OSError):
    """The address may not be called. An OSError, so that whoever connects ends as with any other failure."""


def is_public(address: str) -> bool:
    """Whether it is an ordinary address of the public internet."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found not in _GLOBAL_UNICAST:
        return False
    odd = found.is_multicast or found in _METADATA or any(found in net for net in _NOT_ORDINARY)
    return found.is_global and not odd


class Guard(AbstractResolver):
    """Judges URLs, and resolves names to addresses that may be called.

    Args:
        allow: what else may be called, also without TLS: `host:port`, or networks as `10.20.0.0/16`.

    Raises:
        ValueError: an entry is neither.
    """

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self._networks = [ip_network(entry) for entry in allow if "/" in entry]
        self._hosts = {_host_and_port(entry) for entry in allow if "/" not in entry}

    def checked(self, url: str) -> URL:
        """The URL, if it may be one of a receiver; its name is judged when it is resolved.

        Raises:
            ValueError: with the reason.
        """
        try:
            found = URL(url)
            host, port = found.host, found.port
        except ValueError:
            host = port = None
        if len(url) > URL_MAX or not host or not port:
            raise ValueError(f"this is no address of a receiver: https://host/path, at most {URL_MAX} long")
        if found.user or found.password or found.fragment:
            raise ValueError("leave user, password and fragment out of the address")
        literal = _literal(host)
        named = (host, port) in self._hosts or (literal is not None and self._in_networks(literal))
        if found.scheme != "https" and not (found.scheme == "http" and named):
            raise ValueError("the address begins with https://")
        if literal is not None and not named and not is_public(host):
            raise ValueError("the address is not one of the public internet")
        return found

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises RefusedAddressError if any of the name's addresses may not be called."""
        found = await self.look_up(host, port, family)
        if (host, port) not in self._hosts:
            for one in found:
                if not is_public(one["host"]) and not self._in_networks(ip_address(one["host"])):
                    raise RefusedAddressError("the name leads to an address that is not public")
        return found

    async def look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        """What the system's resolver says, as it says it."""
        loop = asyncio.get_running_loop()
        answers = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, proto, _, address in answers
        ]

    async def close(self) -> None:
        return None

    def _in_networks(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _host_and_port(entry: str) -> tuple[str, int]:
    parts = urlsplit(f"//{entry}")
    if not parts.hostname or not parts.port:
        raise ValueError(f"HUIMIN_WEBHOOK_ALLOW: {entry!r} is neither host:port nor a network")
    return parts.hostname, parts.port


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said: the first kilobytes of it."""

    status: int
    body: bytes
    retry_after: str | None


class Outgoing:
    """The one way to call a receiver."""

    def __init__(self, guard: Guard, *, connections: int) -> None:
        self.guard = guard
        connector = aiohttp.TCPConnector(
            resolver=guard,
            limit=connections,
            keepalive_timeout=KEPT_ALIVE_S,
            ttl_dns_cache=RESOLVE_KEPT_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S, sock_connect=CONNECT_S),
            auto_decompress=False,
            trust_env=False,
            headers={"user-agent": "Huimin-Notify", "accept-encoding": "identity"},
            read_bufsize=READ_BYTES,
        )

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Sends once; whatever the answer's length and pace, it ends by the deadline.

        Raises:
            ValueError: the URL may not be called.
            aiohttp.ClientError, OSError, TimeoutError: no answer.
        """
        checked = self.guard.checked(url)
        async with self._session.post(checked, data=body, headers=headers, allow_redirects=False) as answer:
            said = b""
            try:
                while len(said) < READ_BYTES and (part := await answer.content.read(READ_BYTES - len(said))):
                    said += part
            except (aiohttp.ClientError, TimeoutError):
                pass  # the status has said it already
            if not answer.content.at_eof():
                answer.close()
            return Answer(answer.status, said, answer.headers.get("retry-after"))

    async def close(self) -> None:
        await self._session.close()
