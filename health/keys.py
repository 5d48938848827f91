"""Keys of the index tables: 64-bit BLAKE2b hashes of type, parameter and value.

One index answers every parameter, and an OR of many values is one `hash = any(…)`.
"""

import unicodedata
from functools import lru_cache
from hashlib import blake2b

TEXT_MAX = 200
"""Characters of a text that it is found by."""
URI_MAX = 1000
_MARKED = frozenset({"Mn", "Me"})


def key(*parts: str) -> int:
    """The 64-bit key of type, parameter and value, as PostgreSQL's signed bigint."""
    digest = blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@lru_cache(maxsize=8192)
def param_key(kind: str, parameter: str) -> int:
    """Of the rows whose value stands beside the key: texts, URIs, numbers, references."""
    return key(kind, parameter)


@lru_cache(maxsize=4096)
def date_key(kind: str, parameter: str) -> int:
    return key(kind, parameter, "when")


# A token row's form is part of what is hashed: "any" system, none at all, or this one; "of" is any code.
@lru_cache(maxsize=16_384)
def token_keys(kind: str, parameter: str, system: str | None, code: str | None) -> tuple[int, ...]:
    """Every key under which a stored token can be found."""
    found = [key(kind, parameter, "of", system)] if system else []
    if code:
        own = key(kind, parameter, "is", system, code) if system else key(kind, parameter, "none", code)
        found += [key(kind, parameter, "any", code), own]
    return tuple(found)


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


def of_type_key(kind: str, parameter: str, system: str, code: str, value: str) -> int:
    """Of an Identifier by a coding of its type and its value (`:of-type`)."""
    return key(kind, parameter, "of-type", system, code, value)


def reference_key(kind: str, parameter: str, target: str) -> int:
    """
    Args:
        target: `Type/id`, an absolute URL, or a canonical with or without its version.
    """
    return key(kind, parameter, "to", target)


MENTION = key("reference that no parameter finds")
"""Of the rows of references that are in no search parameter: nothing may lose what they lead to either."""


def quantity_key(kind: str, parameter: str, *form: str) -> int:
    """
    Args:
        form: how the unit is asked for: not at all, or as `health.fhir.units` says.
    """
    return key(kind, parameter, "measure", *form)


def presence(search: str, kind: str, parameter: str) -> tuple[str, int]:
    """The table and the key of the rows that a resource has wherever it has a value for the parameter.

    Args:
        search: the kind of the parameter.
    """
    match search:
        case "reference":
            return "ref", param_key(kind, parameter)
        case "date":
            return "dat", date_key(kind, parameter)
        case "string":
            return "str", param_key(kind, parameter)
        case "number":
            return "num", param_key(kind, parameter)
        case "quantity":
            return "qty", quantity_key(kind, parameter)
        case "uri":
            return "uri", param_key(kind, parameter)
        case _:
            return "tok", key(kind, parameter, "present")


def composite_name(parameter: str, first: int) -> str:
    """The parameter under whose name the other component of a composite is kept.

    Args:
        first: the key of its head, a token, asked under the composite's own name.
    """
    return f"{parameter}${first}"


@lru_cache(maxsize=16_384)
def folded(text: str) -> str:
    """A text as it is compared: without case, accents and superfluous white space, cut to `TEXT_MAX`.

    FHIR R4 search.html#string. Full-width letters and digits are the ordinary ones.
    """
    text = text[: 2 * TEXT_MAX].casefold()
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in apart if unicodedata.category(c) not in _MARKED)
        text = unicodedata.normalize("NFC", text).casefold()
    return " ".join(text.split())[:TEXT_MAX]
