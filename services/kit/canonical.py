"""The one byte form of a JSON value (RFC 8785), and the hashes over it that the audit log stands on.

Leaf hash, node hash: RFC 6962 section 2.1 (0x00, 0x01 in front). A chain's link has 0x02 in front, so that
none of the three can be passed off as another.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import rfc8785

FIRST = bytes(32)
"""What the first link of a chain hangs on."""


def canonical(value: Any) -> bytes:
    """The value's RFC 8785 form: the same value gives the same bytes everywhere.

    Raises:
        rfc8785.CanonicalizationError: it is not JSON, or holds a whole number beyond 2**53.
    """
    return rfc8785.dumps(value)


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def chain(previous: bytes | None, body: bytes) -> bytes:
    """The hash of a record in a chain of its own (a FHIR history, a learner's ledger, a case).

    Args:
        previous: the hash of the record before it; None for the first.
        body: the record's canonical form.
    """
    return hashlib.sha256(b"\x02" + (previous or FIRST) + leaf_hash(body)).digest()


def set_root(members: Iterable[str]) -> bytes:
    """The Merkle root (RFC 6962) of a set of strings, sorted by their UTF-8 form, each counted once."""
    hashes = [leaf_hash(member) for member in sorted({member.encode() for member in members})]
    return tree_root(hashes)


def tree_root(hashes: list[bytes]) -> bytes:
    """The Merkle tree hash over leaf hashes (RFC 6962 section 2.1)."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    # Pairing neighbours and carrying a last odd one up splits at the largest power of two below n.
    level = hashes
    while len(level) > 1:
        carried = [level[-1]] if len(level) % 2 else []
        level = [node_hash(a, b) for a, b in zip(level[::2], level[1::2], strict=False)] + carried
    return level[0]
