"""SMART App Launch 2 scopes: whose records a caller may see, and what it may do with them."""

import re

from health.fhir.outcome import refused
from health.models import Reach
from services.kit.principals import EVERYTHING, Principal
from services.kit.problems import unauthenticated

_SCOPE = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(c?r?u?d?s?)")
_RIGHTS = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}


def reach(principal: Principal, kind: str, right: str) -> Reach:
    """Whose resources of this type the caller may use with this right (one of c, r, u, d, s).

    A `system/` scope reaches everybody's, a `patient/` scope the patient's own. A scope narrowed by a search
    (`?category=…`) is not understood here and grants nothing, rather than too much.

    Raises:
        Problem: 401 without a token.
        Refusal: 403 when no scope grants it.
    """
    if principal.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    if EVERYTHING in principal.scopes or _granted(principal, "system", kind, right):
        return Reach()
    if principal.sector_id is not None and _granted(principal, "patient", kind, right):
        return Reach(sector_id=principal.sector_id)
    raise refused(403, "forbidden", f"the token grants no right to {_RIGHTS[right]} {kind}")


def check_writes(principal: Principal) -> None:
    """Before a bundle is looked at: whether the caller may write anything at all.

    Raises:
        Problem: 401 without a token.
        Refusal: 403 when no scope grants it.
    """
    if principal.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    found = [_SCOPE.fullmatch(scope) for scope in principal.scopes]
    writes = any(f and f[1] == "system" and {"c", "u"} & set(f[3]) for f in found)
    if EVERYTHING not in principal.scopes and not writes:
        raise refused(403, "forbidden", "the token grants no right to write")


def _granted(principal: Principal, level: str, kind: str, right: str) -> bool:
    for scope in principal.scopes:
        found = _SCOPE.fullmatch(scope)
        if found and found[1] == level and found[2] in {"*", kind} and right in found[3]:
            return True
    return False
