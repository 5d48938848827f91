"""What a resource says about who may read it: who treats the patient by it."""

from typing import Any

from health.fhir import extract

TREATING = {
    "Appointment": ("participant", "actor"),
    "Encounter": ("serviceProvider",),
    "EpisodeOfCare": ("managingOrganization",),
    "ServiceRequest": ("performer",),
}
"""Where these name who treats the patient."""
_BY_KEEPER = frozenset({"Encounter", "EpisodeOfCare"})
"""A visit that names no provider was at the organisation that keeps it."""
_NOT = frozenset(
    {
        "cancelled",
        "draft",
        "entered-in-error",
        "noshow",
        "on-hold",
        "pending",
        "proposed",
        "revoked",
        "unknown",
    }
)
"""States in which nobody treats anybody by it."""
_WHEN = ("period", "end", "start", "occurrencePeriod", "occurrenceDateTime", "authoredOn")


def treating(resource: dict[str, Any]) -> list[str] | None:
    """The organisations it names as treating the patient: [] means its keeper, None that nobody is named."""
    kind = resource["resourceType"]
    if kind not in TREATING or resource.get("status") in _NOT:
        return None
    targets = map(extract.target_of, extract.values_at(resource, TREATING[kind]))
    named = sorted({target for target in targets if target and target.startswith("Organization/")})
    return named if named or kind in _BY_KEEPER else None


def treated_until(resource: dict[str, Any]) -> int | None:
    """When it ended, or else began, microseconds since 1970; None where it does not say."""
    for name in _WHEN:
        value = resource.get(name)
        if isinstance(value, dict):
            low, high = extract.period(value)
            known = high if high != extract.ENDLESS else low
            if known != extract.BEGINLESS:
                return known
        elif isinstance(value, str):
            return extract.interval(value)[1]
    return None
