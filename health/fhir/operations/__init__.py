"""The operations of `/fhir`, one module each: `$validate` and the like (FHIR R4 operations.html)."""

from health.fhir.operations import (
    access_log,
    bulk,
    code_systems,
    everything,
    graphql,
    lastn,
    match,
    smart,
    subscriptions,
    summary,
    validate,
    value_sets,
    views,
)

ROUTERS = (
    access_log.router,
    smart.router,
    subscriptions.router,
    *bulk.ROUTERS,
    everything.router,
    graphql.router,
    lastn.router,
    match.router,
    validate.router,
    code_systems.router,
    value_sets.router,
    views.router,
    summary.router,
)
