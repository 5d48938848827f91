"""Whose an identifier is: given out once for the whole country, or its sender's own. Data, not code."""

import json
from functools import cache
from importlib.resources import files

from services.kit.principals import Principal


@cache
def _schemes() -> dict[str, frozenset[str]]:
    text = files("services.identity").joinpath("knowledge/schemes.json").read_text(encoding="utf-8")
    return {system: frozenset(said["vouched_by"]) for system, said in json.loads(text)["schemes"].items()}


def is_national(system: str) -> bool:
    """Whether it names a person everywhere; any other system is a local identifier of its sender."""
    return system in _schemes()


def vouches(system: str, sector: str) -> bool:
    """Whether a push of the sector that names somebody by this may state that person's citizen number.

    A local identifier is its organisation's own record of the person. A national one may be copied from
    anywhere: then only those count who are charged with it.
    """
    return not is_national(system) or sector in _schemes()[system]


def scope_of(principal: Principal, organisation: str | None = None) -> str:
    """Whose the local identifiers of a push are: the organisation it was made for, or else whoever pushes."""
    return organisation or principal.organisation or principal.client_id
