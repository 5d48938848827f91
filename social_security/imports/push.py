"""What was sent: the files of one push on disk, their hashes, and the digest that knows the push again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from social_security.imports.kinds import KINDS, Kind


@dataclass(frozen=True, slots=True)
class SentFile:
    """One file as received, in a folder that goes when the push is done."""

    kind: Kind
    path: Path
    sha256: str
    parquet: bool = False
    charset: str | None = None


def in_order(files: Sequence[SentFile]) -> list[SentFile]:
    """In the order they are applied: claims before their lines."""
    names = list(KINDS)
    return sorted(files, key=lambda file: names.index(file.kind.name))


def sha256_of(files: Sequence[SentFile]) -> str:
    """A single file's hash, or the hash over the hashes of several."""
    if len(files) == 1:
        return files[0].sha256
    return hashlib.sha256("".join(file.sha256 for file in in_order(files)).encode()).hexdigest()


def digest_of(files: Sequence[SentFile], mode: str) -> str:
    """The same files, meant as the same kinds and in the same way, have the same digest."""
    parts = [mode, *(f"{file.kind.name}={file.sha256};{file.charset}" for file in in_order(files))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
