"""What a resource is found by: its values by every search parameter of its type, as rows of the index tables.

paths     an expression of FHIRPath as plain paths, where it is no more than that
walking   many paths followed at once
values    from a value to what it can be asked for by, for each kind of parameter
rows      all of it, for a resource
"""

from health.fhir.extract.dates import BEGINLESS, ENDLESS, Interval, interval, microseconds, moment, period
from health.fhir.extract.rows import extractors, patient_of, reader, rows_of
from health.fhir.extract.values import Rows, target_of
from health.fhir.extract.walking import values_at

__all__ = [
    "BEGINLESS",
    "ENDLESS",
    "Interval",
    "Rows",
    "extractors",
    "interval",
    "microseconds",
    "moment",
    "patient_of",
    "period",
    "reader",
    "rows_of",
    "target_of",
    "values_at",
]
