"""Checks a log, of which nothing is believed but the signatures of its heads.

It is checked in one pass, with memory for the leaves between two heads:

1. every head is signed by one of the keys, says what it is listed as, and follows the one before it;
2. every leaf's body has the hash that went into the tree, and the columns beside it say the same: one that
   was altered or deleted is named;
3. the tree over all leaves has the root that was signed, at every head's size. Where it has not, the tiles,
   which repeat the leaves' hashes, tell which leaf it was; where they were altered too, the leaves between
   the last head that holds and the first that does not are named;
4. every tile has the hashes of the leaves below it;
5. heads that were kept elsewhere are heads of this log.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from services.audit.heads import ForgedHeadError, SignedHead, check_head
from services.audit.tree import EMPTY_ROOT, TILE, Growing, Tile, hashes_in
from services.kit import telemetry
from services.kit.canonical import leaf_hash

FAULTS_KEPT = 1000
Json = dict[str, Any]


@dataclass
class Report:
    """What the verifier found; each fault names the leaf, the head or the tile.

    Attributes:
        restored: what the log itself says of being brought back from a backup: why a head that was signed
            after that moment and kept elsewhere is not of this log any more.
    """

    leaves: int = 0
    heads: int = 0
    root: bytes = EMPTY_ROOT
    newest: str | None = None
    restored: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults

    def fault(self, text: str) -> None:
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(text)


@dataclass
class _Doubt:
    """A leaf of which tree and tile do not say the same; the next signed head tells which one is right."""

    name: str
    in_tile: bytes


class Verifier:
    """Takes heads, then leaves in the tree's order, each 256 after their tile; `finish` gives the report."""

    def __init__(self, keys: Json) -> None:
        self.report = Report()
        self._keys = keys
        self._listed: set[int] = set()
        self._last_listed: int | None = None
        self._signed: dict[int, bytes] = {}
        # As far as a signed head holds; once none does any more, as far as was read.
        self._tree = Growing()
        self._since: list[bytes] = []
        self._doubts: dict[int, _Doubt] = {}
        self._named: set[int] = set()
        self._leaf_tiles: dict[int, list[bytes]] = {}
        self._upper: dict[Tile, bytes] = {}
        self._broken = False
        self._cut: set[int] = set()

    @property
    def _size(self) -> int:
        return self._tree.size + len(self._since)

    # --- heads ---------------------------------------------------------------------------------------

    def head(self, head: Json) -> None:
        """A head as listed: its signature must hold and say the same."""
        self.report.heads += 1
        said = self.later_head(head)
        self._listed.add(int(head["size"]))
        if said is not None:
            self._signed[said.size] = said.root
            self.report.newest = head["jws"]

    def later_head(self, head: Json) -> SignedHead | None:
        """A head over leaves that are not read any more: it tells whether one before it is missing."""
        size = int(head["size"])
        said = self._checked(head["jws"], self._keys, f"head of size {size}")
        if said is not None:
            self._compare_head(head, said)
        self._last_listed = size
        return said

    def _checked(self, jws: str, keys: Json, name: str) -> SignedHead | None:
        try:
            return check_head(jws, keys)
        except ForgedHeadError as error:
            self.report.fault(f"{name}: forged ({error})")
            return None

    def _compare_head(self, head: Json, said: SignedHead) -> None:
        size = int(head["size"])
        listed = (size, str(head["root"]), datetime.fromisoformat(str(head["at"])))
        if listed != (said.size, said.root.hex(), said.at):
            self.report.fault(
                f"head of size {size}: what was signed is size {said.size}, root {said.root.hex()}, {said.at}"
            )
        if said.previous is not None and said.previous != self._last_listed:
            self.report.fault(f"head of size {said.previous}: deleted; the head of size {size} came after it")

    def kept_head(self, jws: str, keys: Json | None) -> None:
        """A head that somebody kept elsewhere, perhaps with the keys of then."""
        said = self._checked(jws, keys or self._keys, "a head that was kept elsewhere")
        if said is None:
            return
        if self._signed.setdefault(said.size, said.root) != said.root:
            self.report.fault(
                f"head of size {said.size}: another one was kept elsewhere, with root {said.root.hex()}; the "
                f"log was made anew"
            )
        elif said.size not in self._listed:
            self.report.fault(
                f"head of size {said.size}: deleted; it was kept elsewhere, signed {said.at.isoformat()}"
            )

    # --- leaves --------------------------------------------------------------------------------------

    def leaf(self, leaf: Json) -> None:
        """The next leaf of the tree."""
        index = int(leaf["index"])
        name = f"leaf {index} ({leaf['source']} {leaf['seq']})"
        if index < self._size:
            self.report.fault(f"{name}: inserted; there is a leaf {index} already")
            return
        if index > self._size:
            self._missing(index)
        kept = bytes.fromhex(leaf["hash"])
        self._check_source(leaf, name, index, kept)
        in_tile = self._in_tile(index)
        if in_tile is None and index // TILE not in self._cut:
            self._cut.add(index // TILE)
            self.report.fault(f"tile 0/{index // TILE}: deleted, or cut off at leaf {index}")
        elif in_tile is not None and in_tile != kept:
            self._doubts[index] = _Doubt(name, in_tile)
        self._append(kept)

    def _missing(self, index: int) -> None:
        first = self._size
        what = f"leaf {first}" if index == first + 1 else f"leaves {first} to {index - 1}"
        self.report.fault(f"{what}: deleted from the copy")
        # A hole keeps its place: by its tile if that still has it, so that what follows can be checked.
        for place in range(first, index):
            self._append(self._in_tile(place) or EMPTY_ROOT)

    def _check_source(self, leaf: Json, name: str, index: int, kept: bytes) -> None:
        body = leaf["body"]
        if body is None:
            fault = "deleted at its source"
        elif leaf_hash(body.encode()) != kept:
            fault = f"altered; it now reads {telemetry.mask(body[:300])}"
        elif leaf.get("beside"):
            fault = f"altered beside its body: {', '.join(leaf['beside'])}"
        else:
            if leaf["source"] == "audit" and '"action":"log.restored"' in body:
                self.report.restored.append(f"{name}: {orjson.loads(body)['reason']}")
            return
        self._named.add(index)
        self.report.fault(f"{name}: {fault}")

    def _in_tile(self, index: int) -> bytes | None:
        number, place = divmod(index, TILE)
        hashes = self._leaf_tiles.get(number, [])
        return hashes[place] if place < len(hashes) else None

    def _append(self, hash: bytes) -> None:
        self._since.append(hash)
        signed = self._signed.get(self._size)
        if signed is not None and not self._broken:
            self._settle(signed)

    def _settle(self, signed: bytes) -> None:
        """At a signed head: whether the leaves since the last one are those that were signed."""
        first, size = self._tree.size, self._size
        if self._grown(self._since, signed):
            for index in self._doubts:
                self.report.fault(f"tile 0/{index // TILE}: altered at leaf {index}")
        else:
            for index, doubt in self._doubts.items():
                if index not in self._named:
                    self.report.fault(
                        f"{doubt.name}: altered together with its hash, or moved: its tile tells"
                    )
            in_tiles = [
                self._doubts[index].in_tile if index in self._doubts else hash
                for index, hash in enumerate(self._since, first)
            ]
            if not self._grown(in_tiles, signed):
                # What comes after a break cannot hold either; the first one is the one that says something.
                self._broken = True
                self.report.fault(
                    f"leaves {first} to {size - 1}: the tree over them is not the one that was signed "
                    f"(the head of size {first} still holds, the head of size {size} does not)"
                )
                self._grown(self._since)
        self._since, self._doubts = [], {}

    def _grown(self, hashes: list[bytes], signed: bytes | None = None) -> bool:
        """Lets the tree grow, if that gives the root that was signed."""
        tree = Growing(self._tree.size, [edge[:] for edge in self._tree.edges])
        changed = tree.append(hashes)
        if signed is not None and tree.root() != signed:
            return False
        self._tree = tree
        self._upper.update((tile, whole) for tile, whole in changed.items() if tile.level)
        for number in [number for number in self._leaf_tiles if number < tree.size // TILE]:
            del self._leaf_tiles[number]
        return True

    # --- tiles ---------------------------------------------------------------------------------------

    def tile(self, level: int, number: int, hashes: bytes) -> None:
        """A tile: of level 0 before its leaves, of those above after all leaves."""
        if level == 0:
            self._leaf_tiles[number] = hashes_in(hashes)
            return
        self._read_to_the_end()
        own = self._upper.pop(Tile(level, number), b"")
        # The tile may have grown since the leaves were read.
        if hashes[: len(own)] != own and not self._broken:
            self.report.fault(f"tile {level}/{number}: altered")

    # --- the end -------------------------------------------------------------------------------------

    def _read_to_the_end(self) -> None:
        if self._since:
            self._grown(self._since)
            self._since = []

    def finish(self) -> Report:
        """The report, once everything was given."""
        self._read_to_the_end()
        size = self._tree.size
        for tile in self._upper if not self._broken else ():
            self.report.fault(f"tile {tile.level}/{tile.number}: deleted")
        beyond = min((signed for signed in self._signed if signed > size), default=None)
        if beyond is not None:
            self.report.fault(
                f"leaves {size} to {beyond - 1}: deleted from the end; a head of size {beyond} was signed"
            )
        self.report.leaves = size
        self.report.root = self._tree.root()
        return self.report
