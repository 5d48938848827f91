"""The verifier: `./run verify` checks the log of the running suite, `--log FILE` a copy of it, offline.

A copy is NDJSON: a line with the keys, a line for each signed head, a line for each leaf in the tree's order
(`./run verify --export FILE` writes it). Checked in one pass, with O(log n) memory for the tree:

1. every head is signed by one of the keys, and says what it is listed as;
2. every leaf's body has the hash that went into the tree: one that was altered or deleted is named;
3. the tree over all leaves has the root that was signed, at every head's size: where bodies and hashes were
   altered together, the leaves between the last head that holds and the first that does not are named;
4. no service has leaves that were put in behind the log's back (running suite only).
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from services.audit.client import AuditClient
from services.audit.heads import ForgedHeadError, check_head
from services.audit.tree import EMPTY_ROOT, Growing
from services.kit import telemetry
from services.kit.calls import DomainError
from services.kit.canonical import leaf_hash

FAULTS_KEPT = 1000


@dataclass
class Report:
    """What the verifier found; each fault names the leaf or the head."""

    leaves: int = 0
    heads: int = 0
    root: bytes = EMPTY_ROOT
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults

    def fault(self, text: str) -> None:
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(text)


class Verifier:
    """Takes heads, then leaves in the tree's order; `finish` gives the report."""

    def __init__(self, keys: dict[str, Any]) -> None:
        self._keys = keys
        self._signed: dict[int, bytes] = {}
        self._tree = Growing()
        self._held = 0
        self._broken = False
        self._report = Report()

    def head(self, head: dict[str, Any]) -> None:
        """A head as listed: its signature must hold and say the same."""
        self._report.heads += 1
        size, root = int(head["size"]), str(head["root"])
        try:
            said = check_head(head["jws"], self._keys)
        except ForgedHeadError as error:
            self._report.fault(f"head of size {size}: forged ({error})")
            return
        if (said.size, said.root.hex()) != (size, root):
            self._report.fault(
                f"head of size {size}: what was signed is size {said.size}, root {said.root.hex()}"
            )
        self._signed[said.size] = said.root

    def leaf(self, leaf: dict[str, Any]) -> None:
        """The next leaf of the tree."""
        index, expected = int(leaf["index"]), self._tree.size
        name = f"leaf {index} ({leaf['source']} {leaf['seq']})"
        if index < expected:
            self._report.fault(f"{name}: inserted; there is a leaf {index} already")
            return
        if index > expected:
            missing = f"leaf {expected}" if index == expected + 1 else f"leaves {expected} to {index - 1}"
            self._report.fault(f"{missing}: deleted from the copy")
        kept = bytes.fromhex(leaf["hash"])
        body = leaf["body"]
        if body is None:
            self._report.fault(f"{name}: deleted at its source")
        elif leaf_hash(body.encode()) != kept:
            self._report.fault(f"{name}: altered; it now reads {telemetry.mask(body[:300])}")
        # A hole keeps its place, so that the leaves after it are still told apart.
        self._tree.append([kept] * (index - expected + 1))
        self._compare()

    def _compare(self) -> None:
        size = self._tree.size
        signed = self._signed.get(size)
        if signed is None or self._broken:
            return
        if self._tree.root() == signed:
            self._held = size
            return
        # What comes after a break cannot hold either; the first one is the one that says something.
        self._broken = True
        self._report.fault(
            f"leaves {self._held} to {size - 1}: the tree over them is not the one that was signed (the head "
            f"of size {self._held} still holds, the head of size {size} does not)"
        )

    def finish(self) -> Report:
        """The report, once all leaves were given."""
        size = self._tree.size
        beyond = min((signed for signed in self._signed if signed > size), default=None)
        if beyond is not None:
            self._report.fault(
                f"leaves {size} to {beyond - 1}: deleted from the end; a head of size {beyond} was signed"
            )
        self._report.leaves = size
        self._report.root = self._tree.root()
        return self._report


def verify_log(path: Path) -> Report:
    """Checks a copy of the log with nothing but the file.

    Raises:
        ValueError: the file is not such a copy; says at which line.
    """
    verifier: Verifier | None = None
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = orjson.loads(line)
                verifier = _taken(verifier, entry["kind"], entry)
            except (KeyError, TypeError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise ValueError(f"{path}, line {number}: not a copy of the log ({reason})") from error
    if verifier is None:
        raise ValueError(f"{path} is empty")
    return verifier.finish()


def _taken(verifier: Verifier | None, kind: str, entry: dict[str, Any]) -> Verifier:
    if kind == "keys":
        return Verifier({"keys": entry["keys"]})
    if verifier is None:
        raise ValueError("the keys come first")
    match kind:
        case "head":
            verifier.head(entry)
        case "leaf":
            verifier.leaf(entry)
        case _:
            raise ValueError(f"a line of kind {kind!r}")
    return verifier


async def entries(client: AuditClient) -> AsyncGenerator[dict[str, Any]]:
    """The log of a running suite as the lines of a copy, up to its newest head."""
    newest = await client.latest_head()
    yield {"kind": "keys", **await client.keys()}
    async with aclosing(client.heads(up_to=newest.size)) as heads:
        async for head in heads:
            yield {"kind": "head", **head.model_dump(mode="json")}
    async with aclosing(client.leaves(size=newest.size)) as leaves:
        async for leaf in leaves:
            yield {"kind": "leaf", **leaf.model_dump(mode="json")}


async def verify_suite(client: AuditClient, copy: BinaryIO | None = None) -> Report:
    """Checks a running suite's log; what was read goes to `copy` as well."""
    verifier: Verifier | None = None
    async with aclosing(entries(client)) as found:
        async for entry in found:
            if copy is not None:
                copy.write(orjson.dumps(entry) + b"\n")
            verifier = _taken(verifier, entry["kind"], entry)
    assert verifier is not None, "the keys always come"
    report = verifier.finish()
    for stray in await client.strays():
        report.fault(f"{stray.source} {stray.seq}: inserted at its source; it is not in the tree")
    return report


def lines_of(report: Report) -> Iterator[str]:
    """The report for a person."""
    if report.ok:
        yield f"✓ {report.leaves} 条访问记录与 {report.heads} 个签名树头一致 · leaves and signed heads agree"
        yield f"  root {report.root.hex()}"
        return
    yield f"✗ 发现 {len(report.faults)} 处问题 · faults found:"
    yield from (f"  {fault}" for fault in report.faults)


def main(arguments: Iterable[str]) -> int:
    """`./run verify [--log FILE | --export FILE]`; 0 when all holds, 1 when not, 2 when it could not look."""
    parser = argparse.ArgumentParser(prog="./run verify", description="核验访问日志 · verify the access log")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--log", type=Path, help="离线核验副本 · a copy of the log, checked offline")
    one.add_argument("--export", type=Path, help="同时写出副本 · write a copy of the running suite's log too")
    asked = parser.parse_args(list(arguments))
    try:
        report = verify_log(asked.log) if asked.log else asyncio.run(_verify_running(asked.export))
    except (OSError, ValueError, DomainError, RuntimeError) as error:
        sys.stderr.write(f"无法核验 · cannot verify: {error}\n")
        return 2
    sys.stdout.writelines(f"{line}\n" for line in lines_of(report))
    return 0 if report.ok else 1


async def _verify_running(export: Path | None) -> Report:
    from services.stack.clients import calls_as_stack
    from services.stack.home import Home
    from services.stack.terminal import Refusal

    try:
        async with calls_as_stack(Home()) as calls:
            client = calls.client(AuditClient)
            if export is None:
                return await verify_suite(client)
            with export.open("wb") as copy:
                return await verify_suite(client, copy)
    except Refusal as refusal:
        raise RuntimeError(str(refusal)) from refusal


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
