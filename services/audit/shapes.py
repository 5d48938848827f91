"""What goes over the wire at the audit's doors. Hashes are hexadecimal."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class Head(BaseModel):
    """The tree's size and root at a time; `jws` is the same, signed (ES256 over RFC 8785 JSON)."""

    size: int
    root: str
    at: datetime
    jws: str


class HeadPage(BaseModel):
    """Heads by size; `next` is the `after` of the following page."""

    heads: list[Head]
    next: int | None


class Leaf(BaseModel):
    """An access leaf at its place in the tree.

    Attributes:
        hash: as it went into the tree.
        body: as it stands at its source now (RFC 8785 JSON); null when it is not there any more.
    """

    index: int
    source: str
    seq: int
    at: datetime
    hash: str
    body: str | None


class LeafPage(BaseModel):
    leaves: list[Leaf]
    next: int | None


class Stray(BaseModel):
    """A leaf at a source that should be in the tree and is not."""

    source: str
    seq: int


class StrayPage(BaseModel):
    strays: list[Stray]


class InclusionProof(BaseModel):
    """RFC 6962 section 2.1.1: with `path`, the leaf hash gives the head's root."""

    index: int
    leaf: str
    path: list[str]
    head: Head


class ConsistencyProof(BaseModel):
    """RFC 6962 section 2.1.2: with `path`, the first root is seen to be part of the second."""

    path: list[str]
    first: Head
    second: Head


class Keys(BaseModel):
    """JWK set."""

    keys: list[dict[str, Any]]
