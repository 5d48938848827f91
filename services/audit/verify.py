"""`./run verify` checks the log of the running suite; `--log FILE` a copy of it, with nothing but the file.

A copy (`--export FILE`) is NDJSON: a line with the keys, a line for each signed head, then the leaves in the
tree's order, each 256 after their tile, the upper tiles, what stood at the sources and not in the tree, and
the heads signed meanwhile.

`--keep FILE` writes one head a day and the newest, to be kept where nobody who can change the log can change
them; `--head FILE` compares with such a file, or with heads (JWS) one a line. It is the only way to see that
the end of a log was cut off whole, or that all of it was made anew.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, TypeVar

import orjson

from services.audit.client import AuditClient
from services.audit.shapes import Head
from services.audit.verifier import Json, Report, Verifier
from services.kit.calls import DomainError

T = TypeVar("T")
HEAD_WITHIN_S = 5.0
"""A head is signed each second; leaves that have none after so long stand outside the log."""


class _Reader:
    """Takes the lines of a copy to a verifier; heads kept elsewhere are compared with the log's own."""

    def __init__(self, kept: Iterable[Json] = ()) -> None:
        self._kept = list(kept)
        self._verifier: Verifier | None = None

    def take(self, entry: Json) -> None:
        kind = entry["kind"]
        if kind == "keys":
            self._verifier = Verifier({"keys": entry["keys"]})
            return
        verifier = self.verifier
        if kind != "head" and self._kept:
            self._compare_kept()
        match kind:
            case "leaf":
                verifier.leaf(entry)
            case "head":
                verifier.head(entry)
            case "later":
                verifier.later_head(entry)
            case "tile":
                verifier.tile(entry["level"], entry["number"], bytes.fromhex(entry["hashes"]))
            case "stray":
                verifier.report.fault(f"{entry['source']} {entry['seq']}: {entry['what']}")
            case _:
                raise ValueError(f"a line of kind {kind!r}")

    @property
    def verifier(self) -> Verifier:
        if self._verifier is None:
            raise ValueError("the keys come first")
        return self._verifier

    def _compare_kept(self) -> None:
        kept, self._kept = self._kept, []
        keys: Json | None = None
        for entry in kept:
            if entry["kind"] == "keys":
                keys = {"keys": entry["keys"]}
            else:
                self.verifier.kept_head(entry["jws"], keys)

    def finish(self) -> Report:
        self._compare_kept()
        return self.verifier.finish()


def verify_log(path: Path, kept: Iterable[Json] = ()) -> Report:
    """Checks a copy of the log with nothing but the file.

    Raises:
        ValueError: the file is not such a copy; says at which line.
    """
    reader = _Reader(kept)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                reader.take(orjson.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise ValueError(f"{path}, line {number}: not a copy of the log ({reason})") from error
    try:
        return reader.finish()
    except ValueError as error:
        raise ValueError(f"{path} is empty: {error}") from error


async def verify_suite(
    client: AuditClient, copy: BinaryIO | None = None, kept: Iterable[Json] = ()
) -> Report:
    """Checks a running suite's log; what was read goes to `copy` as well."""
    reader = _Reader(kept)
    async with aclosing(_entries(client)) as found:
        async for entries in found:
            if copy is not None:
                copy.writelines(orjson.dumps(entry) + b"\n" for entry in entries)
            for entry in entries:
                reader.take(entry)
    return reader.finish()


async def _entries(client: AuditClient) -> AsyncGenerator[list[Json]]:
    """The log of a running suite as the lines of a copy, up to its newest head; many at a time."""
    newest = await client.latest_head()
    yield [{"kind": "keys", **await client.keys()}]
    async with aclosing(client.heads(up_to=newest.size)) as heads:
        async for head in heads:
            yield [{"kind": "head", **head.model_dump(mode="json")}]
    async with aclosing(client.leaf_pages(size=newest.size)) as pages:
        async for page in pages:
            yield [{"kind": "tile", **tile} for tile in page["tiles"]]
            for leaf in page["leaves"]:
                leaf["kind"] = "leaf"
            yield page["leaves"]
    async with aclosing(client.upper_tiles()) as tiles:
        async for upper in tiles:
            yield [{"kind": "tile", **upper.model_dump()}]
    found = await client.strays()
    yield [{"kind": "stray", **stray.model_dump()} for stray in found.strays]
    signed = await _signed_over(client, found.size)
    if signed < found.size:
        words = f"no signed head stands over it, nor over those up to leaf {found.size - 1}"
        yield [{"kind": "stray", "source": "leaf", "seq": signed, "what": words}]
    async with aclosing(client.heads(after=newest.size)) as later:
        async for head in later:
            yield [{"kind": "later", **head.model_dump(mode="json")}]


async def _signed_over(client: AuditClient, size: int) -> int:
    """How many of so many leaves a head is signed over, once there was time for it."""
    until = asyncio.get_running_loop().time() + HEAD_WITHIN_S
    while True:
        signed = (await client.latest_head()).size
        if signed >= size or asyncio.get_running_loop().time() > until:
            return signed
        await asyncio.sleep(0.2)


async def heads_to_keep(client: AuditClient) -> AsyncGenerator[Json]:
    """The keys, the last head of each day and the newest, as lines of a file to be kept elsewhere."""
    yield {"kind": "keys", **await client.keys()}
    newest: Head = await client.latest_head()
    async with aclosing(client.daily_heads()) as heads:
        async for head in heads:
            if head.size < newest.size:
                yield {"kind": "head", **head.model_dump(mode="json")}
    yield {"kind": "head", **newest.model_dump(mode="json")}


def kept_heads(path: Path) -> list[Json]:
    """What `--keep` wrote, or heads (JWS) one a line.

    Raises:
        ValueError: the file is neither; says at which line.
    """
    found: list[Json] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        text = line.strip()
        if not text:
            continue
        try:
            entry: Json = (
                orjson.loads(text) if text.startswith(b"{") else {"kind": "head", "jws": text.decode()}
            )
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: neither keys nor a head") from error
        if ("keys" if entry.get("kind") == "keys" else "jws") not in entry:
            raise ValueError(f"{path}, line {number}: neither keys nor a head")
        found.append(entry)
    return found


def lines_of(report: Report) -> Iterator[str]:
    """The report for a person."""
    if report.ok:
        yield f"✓ {report.leaves} 条访问记录与 {report.heads} 个签名树头一致 · leaves and signed heads agree"
        yield f"  root {report.root.hex()}"
        if report.newest is not None:
            yield f"  {report.newest}"
        return
    yield f"✗ 发现 {len(report.faults)} 处问题 · faults found:"
    yield from (f"  {fault}" for fault in report.faults)
    if report.restored:
        yield "  日志曾从备份恢复, 此后的旧树头不属于它 · the log was restored; later heads are not its:"
        yield from (f"    {words}" for words in report.restored)


def main(arguments: Iterable[str]) -> int:
    """The command; 0 when all holds, 1 when not, 2 when it could not look."""
    parser = argparse.ArgumentParser(prog="./run verify", description="核验访问日志 · verify the access log")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--log", type=Path, help="离线核验副本 · a copy of the log, checked offline")
    one.add_argument("--export", type=Path, help="同时写出副本 · write a copy of the running suite's log too")
    one.add_argument(
        "--keep", type=Path, help="写出每日树头, 另处保存 · write one head a day, to keep elsewhere"
    )
    parser.add_argument(
        "--head", type=Path, help="与另处保存的树头比对 · compare with heads that were kept elsewhere"
    )
    asked = parser.parse_args(list(arguments))
    try:
        kept = kept_heads(asked.head) if asked.head else []
        if asked.log:
            report = verify_log(asked.log, kept)
        elif asked.keep:
            return asyncio.run(_running(lambda client: _keep(client, asked.keep)))
        else:
            report = asyncio.run(_running(lambda client: _verify(client, asked.export, kept)))
    except (OSError, ValueError, DomainError, RuntimeError) as error:
        sys.stderr.write(f"无法核验 · cannot verify: {error}\n")
        return 2
    sys.stdout.writelines(f"{line}\n" for line in lines_of(report))
    return 0 if report.ok else 1


async def _verify(client: AuditClient, export: Path | None, kept: list[Json]) -> Report:
    if export is None:
        return await verify_suite(client, kept=kept)
    with export.open("wb") as copy:
        return await verify_suite(client, copy, kept)


async def _keep(client: AuditClient, path: Path) -> int:
    with path.open("wb") as file:
        async for entry in heads_to_keep(client):
            file.write(orjson.dumps(entry) + b"\n")
    return 0


async def _running(work: Callable[[AuditClient], Awaitable[T]]) -> T:
    """Something done with the running suite's log.

    Raises:
        RuntimeError: no suite runs here.
    """
    from services.stack.clients import calls_as_stack
    from services.stack.home import Home
    from services.stack.terminal import Refusal

    try:
        async with calls_as_stack(Home()) as calls:
            return await work(calls.client(AuditClient))
    except Refusal as refusal:
        raise RuntimeError(str(refusal)) from refusal


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
