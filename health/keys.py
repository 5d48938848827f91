"""Keys of the index tables: 64-bit BLAKE2b hashes of type, parameter and value.

One index answers every parameter, and an OR of many values is one `hash = any(…)`.
"""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=65_536)
def key(*parts: str) -> int:
    """The 64-bit key of type, parameter and value, as PostgreSQL's signed bigint."""
    digest = blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


# A token row's form is part of what is hashed: "any" system, none at all, or this one; "*" is any code.
def token_keys(kind: str, parameter: str, system: str | None, code: str | None) -> Iterator[int]:
    """Every key under which a stored token can be found."""
    if code:
        yield key(kind, parameter, "any", code)
        yield key(kind, parameter, "is", system, code) if system else key(kind, parameter, "none", code)
    if system:
        yield key(kind, parameter, "of", system)


def token_key_asked(kind: str, parameter: str, system: str | None, code: str) -> int:
    """The key a search value stands for.

    Args:
        system: None when none was said (`code`), "" for `|code`.
        code: empty for `system|`.
    """
    if system is None:
        return key(kind, parameter, "any", code)
    if not system:
        return key(kind, parameter, "none", code)
    if not code:
        return key(kind, parameter, "of", system)
    return key(kind, parameter, "is", system, code)


def reference_key(kind: str, parameter: str, target: str) -> int:
    return key(kind, parameter, "to", target)


def date_key(kind: str, parameter: str) -> int:
    return key(kind, parameter, "when")
