"""What a service publishes: `<package>/events.py` declares each type and its data, nothing else goes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from services.kit.policy import package_of


class Data(BaseModel):
    """Base of the shapes of events' data: what is not declared is not told."""

    model_config = ConfigDict(extra="forbid")


Shape = type[BaseModel]


@dataclass(frozen=True, slots=True)
class Declared:
    """A type of event.

    Attributes:
        type: `<service>.<thing>.<what happened>`.
        words: what it says, in English and Chinese.
    """

    type: str
    data: Shape
    words: str


@cache
def declared(service: str) -> Mapping[str, Declared] | None:
    """The service's types of event; None where there is no such package to declare any, as in a test."""
    package = package_of(service)
    if find_spec(package) is None:
        return None
    if find_spec(f"{package}.events") is None:
        return {}
    found: tuple[Declared, ...] = import_module(f"{package}.events").EVENTS
    return {one.type: one for one in found}


def check_declared(service: str, type: str, data: Mapping[str, Any]) -> None:
    """Raises ValueError for a type that is not declared, or data of another shape."""
    known = declared(service)
    if known is None:
        return
    if type not in known:
        raise ValueError(f"{type} is not declared: say in {package_of(service)}.events what its data are")
    try:
        known[type].data.model_validate(data)
    except ValidationError as error:
        # Only where and what: the values may be personal.
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in error.errors()]
        raise ValueError(f"{type}: its data are not as declared ({'; '.join(faults)})") from None
