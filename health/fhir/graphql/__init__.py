"""GraphQL over FHIR resources (FHIR R4 graphql.html), evaluated on their JSON: there is no schema to build,
and none to look into; `__schema` and `__type` are refused.

`query` reads a document into a small tree of its own and checks it against the definitions; `rendering` gives
the output as far as what it needs is at hand; `loading` brings what is missing, level by level.
"""

from health.fhir.graphql.loading import answered
from health.fhir.graphql.query import Asked, understood

__all__ = ["Asked", "answered", "understood"]
