"""Who may be given which scopes: the one table, by kind of client, service, and person signed in.

`service:<name>` clients are the suite's own. A client may ask for less than its row; never for more.
"""

import re
from collections.abc import Iterable, Mapping

from services.kit import purposes

DOMAINS = ("health", "social_security", "education", "transport")

CLIENTS: Mapping[str, frozenset[str]] = {
    "hospital": frozenset({"system/*.cruds", "notify:webhooks:write"}),
    "school": frozenset({"education:imports:write"}),
    "agency": frozenset({"social_security:imports:write"}),
    "insurer": frozenset({"social_security:imports:write"}),
    "gate": frozenset({"transport:readings:write"}),
    "site": frozenset(
        {
            "transport:sites:write",
            "transport:readings:write",
            "notify:stream:read",
            "notify:webhooks:write",
        }
    ),
    "registry": frozenset(
        {
            "identity:persons:write",
            "identity:registers:write",
            "identity:registers:read",
            "health:terminology:write",
            "health:search-parameters:write",
            "system/SearchParameter.cruds",
        }
    ),
    "auditor": frozenset({"audit:read", "exchange:catalogue:read"}),
    "portal": frozenset({"exchange:usages:find"}),
    "researcher": frozenset({"exchange:exports:request"}),
    "app": frozenset(),
}

_DOMAIN = frozenset(
    {
        "events:read",
        "identity:persons:resolve",
        "identity:sector-ids:renew",
        "identity:residents:read",
        "exchange:read",
        "exchange:catalogue:read",
        "exchange:consents:check",
        "notify:stream:read",
    }
)

SERVICES: Mapping[str, frozenset[str]] = {
    "health": _DOMAIN | {"notify:subscribers:tell"},
    "social_security": _DOMAIN,
    "education": _DOMAIN,
    "transport": _DOMAIN,
    "identity": frozenset({"events:read"}),
    "exchange": frozenset(
        {
            "audit:usages:read",
            "events:read",
            "exchange:batches:push",
            "exchange:offers:read",
            "identity:sector-ids:read",
            "identity:sector-ids:renew",
            "identity:translate",
            "identity:wards:read",
        }
    ),
    "audit": frozenset({"events:read"}),
    "notify": frozenset({"events:read", "identity:sector-ids:renew", "transport:flows:read"}),
    "gateway": frozenset(
        {"transport:flows:read", "notify:stream:read", "exchange:catalogue:read", "audit:read"}
    ),
    # The command line: whoever holds the suite's master secret.
    "stack": frozenset(
        {
            "identity:clients:write",
            "identity:accounts:write",
            "identity:sector-keys:write",
            "identity:registers:write",
            "identity:registers:read",
            "identity:residents:read",
            "identity:persons:write",
            "exchange:agreements:write",
            "exchange:catalogue:read",
            "exchange:hiding-rights:write",
            "audit:read",
            "audit:outcomes:write",
            "events:read",
            "events:replay",
            "operations:read",
            "social_security:audits:run",
            "social_security:findings:read",
            "transport:sites:write",
            "transport:flows:read",
            "notify:stream:read",
        }
    ),
}

CITIZEN: Mapping[str, frozenset[str]] = {
    "health": frozenset({"patient/*.rs"}),
    "education": frozenset({"education:records:read"}),
    "social_security": frozenset({"social_security:records:read"}),
    "transport": frozenset({"transport:flows:read"}),
    "notify": frozenset({"notify:stream:read", "notify:destinations:write"}),
    "identity": frozenset({"identity:persons:read"}),
    "exchange": frozenset(
        {
            "exchange:catalogue:read",
            "exchange:consents:read",
            "exchange:consents:write",
            "exchange:usage-reports:write",
            "exchange:usages:read",
        }
    ),
}

ROLES: Mapping[str, frozenset[str]] = {
    "flow_staff": frozenset(
        {
            "transport:flows:read",
            "transport:warnings:acknowledge",
            "notify:stream:read",
            "notify:duties:take",
            "notify:webhooks:write",
        }
    ),
    "duty_lead": frozenset(
        {
            "transport:flows:read",
            "transport:warnings:acknowledge",
            "notify:stream:read",
            "notify:duties:take",
            "notify:rosters:write",
            "notify:webhooks:write",
        }
    ),
    "auditor": frozenset(
        {"social_security:findings:read", "social_security:audits:run", "exchange:catalogue:read"}
    ),
    "exchange_staff": frozenset(
        {"exchange:agreements:write", "exchange:catalogue:read", "exchange:usage-reports:answer"}
    ),
    "operator": frozenset(
        {
            "audit:read",
            "events:replay",
            "health:terminology:write",
            "operations:read",
            "notify:stream:read",
            "notify:rosters:write",
        }
    ),
    "data_steward": frozenset(
        {"exchange:open-data:write", "exchange:exports:decide", "exchange:catalogue:read"}
    ),
    "identity_clerk": frozenset({"identity:matches:decide"}),
    "clinician": frozenset({"user/*.rs", "health:emergency-accesses:write"}),
    "privacy_officer": frozenset(
        {
            "user/AuditEvent.rs",
            "exchange:usage-reports:answer",
            "health:access-reviews:read",
            "health:access-reviews:decide",
            "notify:privacy:read",
            "notify:webhooks:write",
        }
    ),
}

_BENEFITS = (purposes.BENEFIT_ADMINISTRATION, purposes.BENEFIT_AUDIT, purposes.STATISTICS)

CLIENT_PURPOSES: Mapping[str, tuple[str, ...]] = {
    # What a kind of client may say its access is for; the first is meant by one that says nothing.
    "hospital": (
        purposes.TREATMENT,
        purposes.EMERGENCY,
        purposes.PUBLIC_HEALTH,
        purposes.OPERATIONS,
        purposes.STATISTICS,
        purposes.RESEARCH,
    ),
    "school": (purposes.EDUCATION, purposes.STATISTICS),
    "agency": _BENEFITS,
    "insurer": _BENEFITS,
    "gate": (purposes.OPERATIONS,),
    "site": (purposes.OPERATIONS,),
    "registry": (purposes.REGISTRATION, purposes.STATISTICS),
    "auditor": (purposes.OPERATIONS,),
    "portal": (purposes.OWN_RECORDS,),
    "researcher": (purposes.RESEARCH,),
    "app": (),
}

ROLE_PURPOSES: Mapping[str, str] = {
    "flow_staff": purposes.OPERATIONS,
    "auditor": purposes.BENEFIT_AUDIT,
    "exchange_staff": purposes.OPERATIONS,
    "operator": purposes.OPERATIONS,
    "identity_clerk": purposes.REGISTRATION,
    "privacy_officer": purposes.OPERATIONS,
    "duty_lead": purposes.OPERATIONS,
    "clinician": purposes.TREATMENT,
    "data_steward": purposes.STATISTICS,
}

EVERY_STAFF = frozenset({"transport:flows:read", "exchange:catalogue:read", "notify:destinations:write"})
"""What anybody may read without signing in: signing in takes nothing away; and where one wants to be told."""

OPENID = frozenset({"openid", "offline_access"})
MINE = "me"
"""Asked for by the suite's own pages: everything the person signed in may do."""

_AUDIENCES: Mapping[str, tuple[str, ...]] = {
    # These mean the same at whichever service keeps the data.
    "exchange:offers:read": DOMAINS,
    "events:read": (*DOMAINS, "identity", "exchange", "notify", "audit"),
    "events:replay": (*DOMAINS, "identity", "exchange", "notify", "audit"),
    "operations:read": (*DOMAINS, "identity", "exchange", "notify", "audit"),
}
_NARROWER = r"\?[\w-]+=[^\s&]+(?:&[\w-]+=[^\s&]+)*"
_SMART = re.compile(rf"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(?=.)(c?r?u?d?s?)({_NARROWER})?")
"""What narrows one is a search by parameters without modifiers; which of them can be is for health to say."""


def is_smart(scope: str) -> bool:
    """Whether the scope has SMART App Launch 2.0's form, e.g. `system/Observation.c`."""
    return _SMART.fullmatch(scope) is not None


def covers(granted: str, asked: str) -> bool:
    """Whether a grant includes a scope: itself, or a narrower one of SMART's."""
    if granted == asked:
        return True
    wide, narrow = _SMART.fullmatch(granted), _SMART.fullmatch(asked)
    if wide is None or narrow is None or wide[4]:
        return False
    return wide[1] == narrow[1] and wide[2] in {"*", narrow[2]} and set(narrow[3]) <= set(wide[3])


def narrowed(granted: Iterable[str], asked: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Splits what is asked for into (given, refused)."""
    granted = frozenset(granted)
    wanted = frozenset(asked)
    given = frozenset(scope for scope in wanted if any(covers(grant, scope) for grant in granted))
    return given, wanted - given


def widest(scope: str) -> str:
    """The citizen scope that includes this one; the scope itself when none does."""
    everything = frozenset[str]().union(*CITIZEN.values())
    return next((grant for grant in sorted(everything) if covers(grant, scope)), scope)


def of_session(kind: str, roles: Iterable[str]) -> frozenset[str]:
    """Everything a person signed in may do, over all services."""
    if kind == "person":
        return frozenset[str]().union(*CITIZEN.values())
    return EVERY_STAFF.union(*(ROLES.get(role, frozenset()) for role in roles))


def purpose_at(service: str, kind: str, roles: Iterable[str]) -> str | None:
    """What a session's access at a service is for: a person's own records, or what the staff role is for."""
    if kind == "person":
        return purposes.OWN_RECORDS
    held = frozenset(roles)
    return next(
        (ROLE_PURPOSES[role] for role in ROLES if role in held and for_service(service, ROLES[role])), None
    )


def for_service(service: str, scopes: Iterable[str]) -> frozenset[str]:
    """Those of the scopes that mean something at the service."""
    return frozenset(scope for scope in scopes if service in audiences_of(scope))


def audiences_of(scope: str) -> tuple[str, ...]:
    """The services a scope is for."""
    if is_smart(scope):
        return ("health",)
    return _AUDIENCES.get(scope) or (scope.partition(":")[0],)
