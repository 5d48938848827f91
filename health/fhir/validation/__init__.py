"""Is this resource right? HL7's JSON Schema (with our repairs), our own checks, then, where these leave a
doubt, the R4B models: each sees what the others do not. Heavy: runs in the worker processes of
`health.fhir.workers`, never on the event loop.
"""

from health.fhir.validation.tiers import issues_of, schema_issues

__all__ = ["issues_of", "schema_issues"]
