"""SQL on FHIR 2: a ViewDefinition makes a flat table of resources (https://sql-on-fhir.org, version 2.0).

    view = viewed(definition)                     # refused with the place of what is wrong in it
    table = run.relation(view, ["Patient.ndjson"])   # a DuckDB relation, to be asked, joined or written

Columns are computed by the FHIRPath of `health.fhir.fhirpath`; DuckDB reads the files and holds the tables.
"""

from health.fhir.views.definition import Column, View, viewed

__all__ = ["Column", "View", "viewed"]
