"""Search parameters that are not FHIR's own: an active SearchParameter resource makes one.

What was kept before is indexed anew by a job; until that has ended the parameter is not searched by, and a
search says how far it is. `reindexing` keeps this process informed of those there are.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from health.fhir.definitions import Parameter, definitions
from health.fhir.extract import extractors
from health.fhir.fhirpath import FHIRPathError
from health.fhir.fhirpath.bounds import unbounded
from health.fhir.outcome import Issue

EXPRESSION_MAX = 2000
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A name that a search can say: `_` begins FHIR's own, and `:` and `.` end one."""
_SEARCHED = frozenset({"token", "reference", "date", "string", "number", "quantity", "uri"})


@dataclass(frozen=True, slots=True)
class Known:
    """The parameters there are beside FHIR's own.

    Attributes:
        version: of the database's table.
        kept: those that resources get index rows for, by type and code.
        pending: of those that cannot be searched by yet, how far the job is, by type and code.
    """

    version: str = ""
    kept: Mapping[str, Mapping[str, Parameter]] = field(default_factory=dict)
    pending: Mapping[tuple[str, str], str] = field(default_factory=dict)


_known = Known()


def known() -> Known:
    """As this process last saw them."""
    return _known


def use(found: Known) -> None:
    global _known
    _known = found


def kept(kind: str) -> Iterable[Parameter]:
    """Those that resources of the type get index rows for."""
    return _known.kept.get(kind, {}).values()


def parameters_of(kind: str) -> dict[str, Parameter]:
    """Every parameter that a search of this type takes, by name."""
    own = definitions().parameters.get(kind, {})
    others = _known.kept.get(kind, {})
    return {**{c: p for c, p in others.items() if (kind, c) not in _known.pending}, **own}


def pending(kind: str, code: str) -> str | None:
    """Why a parameter cannot be searched by yet, in words; None where there is none of this name."""
    return _known.pending.get((kind, code))


# Registering


def parameters_in(resource: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters that a SearchParameter resource makes, by type.

    None unless it is active and has an expression; none for a type that has a parameter of this name in FHIR
    itself, whose definition holds.

    Raises:
        WrongParameter: it cannot be searched by, and why.
    """
    expression, search = resource.get("expression"), resource.get("type")
    if resource.get("status") != "active" or expression is None:
        return {}
    code = resource["code"]
    found: dict[str, Parameter] = {}
    for kind in _types(resource.get("base", ())):
        if code not in definitions().parameters.get(kind, {}):
            found[kind] = Parameter(
                name=code,
                kind=search,  # type: ignore[arg-type]  # looked at below
                url=resource["url"],
                expression=expression,
                targets=frozenset(resource.get("target", ())),
                components=(),
                stored=(code,),
            )
    if found:
        _check(found, search, expression)
    return found


class WrongParameter(ValueError):
    """A SearchParameter that nothing can be searched by."""

    def __init__(self, words: str, element: str) -> None:
        super().__init__(words)
        self.element = element

    def issue(self, path: str) -> Issue:
        return Issue("value", str(self), f"{path}.{self.element}")


def _types(base: Sequence[str]) -> list[str]:
    every = not {"Resource", "DomainResource"}.isdisjoint(base)
    return (
        sorted(definitions().resources) if every else [one for one in base if one in definitions().resources]
    )


def _check(found: Mapping[str, Parameter], search: Any, expression: str) -> None:
    if not all(_CODE.fullmatch(parameter.name) for parameter in found.values()):
        words = (
            "a search cannot say this: write letters, digits, - and _, no more than 64, beginning with no _"
        )
        raise WrongParameter(words, "code")
    if search not in _SEARCHED:
        words = f"a parameter of type {search} is not indexed here; {', '.join(sorted(_SEARCHED))} are"
        raise WrongParameter(words, "type")
    if len(expression) > EXPRESSION_MAX:
        raise WrongParameter(f"longer than {EXPRESSION_MAX} characters", "expression")
    for kind, parameter in found.items():
        try:
            refused = unbounded(expression)
            extractors(kind, [parameter])
        except (FHIRPathError, RecursionError) as error:
            words = str(error) or "nested too deep"
            raise WrongParameter(
                f"not an expression that finds something in a {kind}: {words}", "expression"
            ) from error
        if refused:
            words = f"{refused} may be too much work for each resource that is stored"
            raise WrongParameter(words, "expression")


def told(parameter: Parameter) -> dict[str, Any]:
    """A parameter as it is kept, and told to the worker processes."""
    return {
        "name": parameter.name,
        "kind": parameter.kind,
        "url": parameter.url,
        "expression": parameter.expression,
        "targets": sorted(parameter.targets),
    }


def heard(said: Mapping[str, Any]) -> Parameter:
    targets = frozenset(said["targets"])
    return Parameter(**{**said, "targets": targets, "components": (), "stored": (said["name"],)})


def spoken() -> dict[str, Any]:
    """What a worker process has to know to make index rows."""
    kept = {kind: [told(one) for one in of.values()] for kind, of in _known.kept.items()}
    return {"version": _known.version, "kept": kept}


def listen(said: Mapping[str, Any]) -> None:
    """The other end of `spoken`."""
    if said["version"] != _known.version:
        kept = {kind: {one["name"]: heard(one) for one in of} for kind, of in said["kept"].items()}
        use(Known(said["version"], kept))
