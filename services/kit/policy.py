"""The one decision point: who may do what with which data, for which purpose, and why.

Policies are Cedar files: what holds everywhere in `services/kit/policies/`, the rest in each service's
`policies/`, validated against their schema when the service starts. Nothing is permitted that no policy
permits, and a policy that forbids wins. The decision names the policy that decided, in its annotations:
`@id`, `@reason` (a code), `@reason_zh` and `@reason_en` (words for people), and `@legal_basis`, if any.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from typing import Any

import cedarpy
import orjson

from services.kit import telemetry
from services.kit.principals import Principal
from services.kit.problems import Problem

KIT = "services.kit"
NO_POLICY = "no_policy"
_NEEDED = ("id", "reason", "reason_zh", "reason_en")
_WHO = {"type": "Principal", "id": "asking"}


class PolicyError(Exception):
    """A policy file that cannot be used; the words name the file and what is wrong in it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What is asked for, by the facts a policy may look at.

    Attributes:
        type: kind of resource as the schema names it, e.g. `SocialSecurity::Finding`.
        id: for whoever reads the leaf; no policy sees it.
        owner: sector id, in this service's sector, of the person it is about.
        organisation: who keeps it (its custodian).
        area: GB/T 2260 code of where it belongs.
        special: whether it is specially protected.
    """

    type: str
    id: str = "*"
    owner: str | None = None
    organisation: str | None = None
    area: str | None = None
    special: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Permitted or not, the words of the policy that decided, and its id."""

    permitted: bool
    reason: str
    reason_zh: str
    reason_en: str
    legal_basis: str | None = None
    policy: str | None = None

    def refusal(self) -> Problem:
        """403 with the reason as its code and in words of both languages."""
        words = {"zh": self.reason_zh, "en": self.reason_en}
        return Problem(403, self.reason, f"{self.reason_en} {self.reason_zh}", extra={"reason": words})


NOBODY_PERMITS = Decision(False, NO_POLICY, "没有访问策略允许这次访问。", "No access policy permits this.")
CANNOT_TELL = Decision(
    False, "policy_error", "访问策略无法作出判断。", "The access policies cannot decide this."
)


class Policies:
    """The access policies of one service, parsed once."""

    def __init__(self, sources: Mapping[str, str], schemas: Iterable[str], *, service: str = "kit") -> None:
        """Takes policy texts by file name.

        Raises:
            PolicyError: one does not parse, does not validate, or lacks an annotation.
        """
        self._service = service
        text = "\n".join(sources.values())
        places = _places(sources)
        _validate(text, "\n".join(schemas), places)
        self._set = cedarpy.PolicySet.from_str(text)
        self._deciding = {name: _decision_of(policy) for name, policy in _parsed(text).items()}

    @classmethod
    @cache
    def of(cls, package: str) -> "Policies":
        """The policies of a service's package (`health`, `services.identity`) and what holds everywhere.

        Raises:
            PolicyError: a policy file that does not parse or validate.
        """
        found = [file for name in (KIT, package) for file in _files(name)]
        return cls(
            {name: text for name, text in found if name.endswith(".cedar")},
            [text for name, text in found if name.endswith(".cedarschema")],
            service=package.rpartition(".")[2],
        )

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all its policies."""
        return frozenset(found.policy for found in self._deciding.values() if found.policy)

    def decide(
        self,
        who: Principal,
        action: str,
        resource: Resource,
        *,
        consent: bool = False,
        relations: Collection[str] = (),
        purpose: str | None = None,
    ) -> Decision:
        """Whether this may be done.

        Args:
            consent: the person's consent, in force now, covers this access.
            relations: what the capability has established: treatment, guardian, break_glass, …; that the
                data are the caller's own (self) or kept by its organisation (custodian) is seen here.
            purpose: what it is for, where that is not what the token says.
        """
        context: dict[str, Any] = {
            "consent": consent,
            "in_area": who.may_area(resource.area),
            "relations": sorted({*relations, *_evident(who, resource)}),
        }
        if purpose := purpose or who.purpose:
            context["purpose"] = purpose
        request = {
            "principal": _WHO,
            "action": {"type": "Action", "id": action},
            "resource": {"type": resource.type, "id": "asked"},
            "context": orjson.dumps(context).decode(),
        }
        answer = cedarpy.is_authorized(request, self._set, _entities(who, resource))
        return self._decision(answer, action)

    def require(
        self,
        who: Principal,
        action: str,
        resource: Resource,
        *,
        consent: bool = False,
        relations: Collection[str] = (),
        purpose: str | None = None,
    ) -> Decision:
        """The same for what must be permitted; the caller writes the refused leaf.

        Raises:
            Problem: 403, its code the reason, its words in both languages.
        """
        found = self.decide(who, action, resource, consent=consent, relations=relations, purpose=purpose)
        if found.permitted:
            return found
        telemetry.logger(self._service).info(
            "refused",
            extra={
                "action": action,
                "resource_type": resource.type,
                "reason": found.reason,
                "policy": found.policy,
                "client": who.client_id,
                "kind": who.kind,
            },
        )
        raise found.refusal()

    def _decision(self, answer: cedarpy.AuthzResult, action: str) -> Decision:
        if answer.diagnostics.errors or answer.decision is cedarpy.Decision.NoDecision:
            # The engine passes over a policy it cannot evaluate, and it might be one that forbids.
            telemetry.logger(self._service).error("policy error", extra={"action": action})
            return CANNOT_TELL
        deciding = sorted(answer.diagnostics.reasons, key=_number)
        return self._deciding[deciding[0]] if deciding else NOBODY_PERMITS


def package_of(service: str) -> str:
    """Where a service of the house lives: `services.identity` for `identity`, `health` for `health`."""
    inside = f"services.{service}"
    return inside if find_spec(inside) is not None else service


def _decision_of(policy: Mapping[str, Any]) -> Decision:
    notes = policy["annotations"]
    return Decision(
        policy["effect"] == "permit",
        notes["reason"],
        notes["reason_zh"],
        notes["reason_en"],
        notes.get("legal_basis"),
        notes["id"],
    )


def _evident(who: Principal, resource: Resource) -> set[str]:
    found = set()
    if who.kind == "person" and resource.owner in who.sector_ids:
        found.add("self")
    acts_for = who.organisation or who.client_id
    if acts_for and acts_for == resource.organisation:
        found.add("custodian")
    return found


def _entities(who: Principal, resource: Resource) -> str:
    asking = {
        "kind": who.kind,
        "scopes": sorted(who.scopes),
        "roles": sorted(who.roles),
        "unguarded": who.unguarded,
        "organisation": who.organisation,
        "sector_id": who.sector_id,
        "service": who.service,
    }
    asked = {
        "owner": resource.owner,
        "organisation": resource.organisation,
        "area": resource.area,
        "special": resource.special,
    }
    told = [
        {"uid": _WHO, "attrs": _known(asking), "parents": []},
        {"uid": {"type": resource.type, "id": "asked"}, "attrs": _known(asked), "parents": []},
    ]
    return orjson.dumps(told).decode()


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _number(policy: str) -> int:
    return int(policy.removeprefix("policy"))


def _files(package: str) -> list[tuple[str, str]]:
    """(name, text) of a package's policy and schema files, in the order of their names."""
    if find_spec(package) is None:
        return []
    folder: Traversable = files(package).joinpath("policies")
    if not folder.is_dir():
        return []
    shown = package.replace(".", "/")
    return [
        (f"{shown}/policies/{file.name}", file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
    ]


def _parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    return found


def _places(sources: Mapping[str, str]) -> list[str]:
    """Of each policy, in the order they are numbered, its file and id."""
    found: list[str] = []
    for name, text in sources.items():
        try:
            policies = _parsed(text)
        except ValueError as error:
            raise PolicyError(f"{name}: {error}") from error
        for key in sorted(policies, key=_number):
            notes = policies[key]["annotations"]
            place = f"{name}: policy {notes.get('id') or key}"
            missing = [f"@{needed}" for needed in _NEEDED if not notes.get(needed)]
            if missing:
                raise PolicyError(f"{place} lacks {', '.join(missing)}")
            if any(known.endswith(f": policy {notes['id']}") for known in found):
                raise PolicyError(f"{place} has the id of another one")
            found.append(place)
    return found


def _validate(text: str, schema: str, places: Sequence[str]) -> None:
    try:
        parsed = cedarpy.Schema.from_str(schema)
    except ValueError as error:
        raise PolicyError(f"the schema of the access policies: {error}") from error
    result = cedarpy.validate_policies(text, parsed)
    if not result.validation_passed:
        said = [
            f"{places[_number(error.policy_id)] if error.policy_id else 'access policies'}: {error.error}"
            for error in result.errors
        ]
        raise PolicyError("; ".join(said))
