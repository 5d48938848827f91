"""What may be called: public addresses over TLS, what a setting names, and nothing by a trick."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.channels.guard import Guard, Outgoing, RefusedAddressError, is_public
from tests.notify.channels.receivers import LOOPBACK, Names, Receiver, saying

FORBIDDEN = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *(
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *("192.0.2.1", "192.88.99.1", "168.63.129.16"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1"),
    *(
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:4136:e378::1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2001:db8::1",
    ),
]
PUBLIC = ["8.8.8.8", "114.114.114.114", "223.5.5.5", "2400:3200::1", "2606:4700:4700::1111"]


@asynccontextmanager
async def way_out(judge: Guard) -> AsyncIterator[Outgoing]:
    outgoing = Outgoing(judge, connections=4)
    try:
        yield outgoing
    finally:
        await outgoing.close()


@contextmanager
def refusing() -> Iterator[None]:
    with pytest.raises(aiohttp.ClientConnectorError) as found:
        yield
    assert isinstance(found.value.__cause__, RefusedAddressError)


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_an_address_that_is_not_public_is_refused_in_the_url_and_behind_a_name(address: str) -> None:
    assert not is_public(address)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
        Guard().checked(f"https://{host}/hook")
    async with way_out(Names({"hooks.example.org": [[address]]})) as outgoing:
        with refusing():
            await outgoing.post("https://hooks.example.org/hook", b"", {})


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_none_of_these(address: str) -> None:
    assert is_public(address)
    Guard().checked(f"https://{f'[{address}]' if ':' in address else address}/hook")


@given(st.ip_addresses(v=4, network="0.0.0.0/0"))
def test_no_embedding_of_an_ipv4_address_is_public(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    for form in (
        0xFFFF << 32 | number,  # IPv4-mapped
        number,  # IPv4-compatible
        0x0064FF9B << 96 | number,  # NAT64
        0x2002 << 112 | number << 80 | 1,  # 6to4
        0x20010000 << 96 | 1 << 64 | number ^ 0xFFFFFFFF,  # Teredo
    ):
        assert not is_public(str(ipaddress.IPv6Address(form)))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/",
        "ftp://hooks.example.org/",
        "https:///hook",
        "https://user:secret@hooks.example.org/",
        "https://hooks.example.org/#part",
        "https://hooks.example.org:99999/",
        "//hooks.example.org/",
        "hooks",
        "",
        "https://hooks.example.org/" + "x" * 2000,
    ],
)
def test_what_is_no_address_of_a_receiver_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
        Guard().checked(url)


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "localhost", "[::1%25lo]"]
)
async def test_other_spellings_of_loopback_lead_nowhere(host: str) -> None:
    async with way_out(Guard()) as outgoing:
        with pytest.raises((aiohttp.ClientError, ValueError, OSError)):
            await outgoing.post(f"https://{host}/", b"", {})


async def test_one_address_among_public_ones_is_enough_to_refuse() -> None:
    judge = Names({"hooks.example.org": [["8.8.8.8", "10.0.0.1"]]})
    async with way_out(judge) as outgoing:
        with refusing():
            await outgoing.post("https://hooks.example.org/", b"", {})


async def test_a_compressed_body_is_not_unpacked(outgoing: Outgoing, receiver: Receiver) -> None:
    receiver.answer = saying(200, b"\x1f\x8b" + b"\0" * 100, content_encoding="gzip")
    assert (await outgoing.post(receiver.url, b"{}", {})).body.startswith(b"\x1f\x8b")
    assert receiver.got[0].headers["accept-encoding"] == "identity"


async def test_connections_are_used_again(outgoing: Outgoing, receiver: Receiver) -> None:
    for _ in range(20):
        await outgoing.post(receiver.url, b"{}", {})
    assert len({got.peer_port for got in receiver.got}) == 1


def test_the_setting_names_hosts_with_ports_and_networks() -> None:
    judge = Guard(("hooks.gov.internal:8443", "10.20.0.0/16", "[fd00::1]:9000"))
    for url in ("http://hooks.gov.internal:8443/a", "http://10.20.3.4/", "https://[fd00::1]:9000/"):
        judge.checked(url)
    for url in ("http://hooks.gov.internal/", "https://10.21.0.1/", "https://[fd00::1]:9001/"):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
            judge.checked(url)
    with pytest.raises(ValueError, match="HUIMIN_WEBHOOK_ALLOW"):
        Guard(("hooks.gov.internal",))


async def test_tls_is_checked_against_the_name_in_the_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pinned address changes nothing about whom the certificate has to name."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    asked = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=t"]
    asked += ["-addext", "subjectAltName=DNS:right.example.org", "-keyout", str(key)]
    made = await asyncio.create_subprocess_exec("openssl", "req", *asked, "-out", str(certificate))
    assert await made.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    names: list[str] = []
    context.sni_callback = lambda _socket, name, _context: names.append(str(name))

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    answers = {"right.example.org": [["127.0.0.1"]], "wrong.example.org": [["127.0.0.1"]]}
    async with server, way_out(Names(answers, (LOOPBACK,))) as outgoing:
        answer = await outgoing.post(f"https://right.example.org:{port}/", b"", {})
        assert (answer.status, names) == (204, ["right.example.org"])
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await outgoing.post(f"https://wrong.example.org:{port}/", b"", {})
