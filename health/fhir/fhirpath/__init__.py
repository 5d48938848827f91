"""FHIRPath (HL7 N1, normative release 2.0.0) over FHIR R4 JSON, compiled once to Python closures.

    evaluate = compiled("name.where(use = 'official').given")
    evaluate(root(patient))      # the collection, a list of Nodes

Search parameters, invariants, FHIRPath Patch and view definitions are all written in it. Values are read as
they stand in JSON: nothing is converted until an operator needs it, and what is found keeps its place, so
that an error can name it.
"""

from health.fhir.fhirpath.compiler import Path, compiled
from health.fhir.fhirpath.nodes import Node, root
from health.fhir.fhirpath.parser import FHIRPathError

__all__ = ["FHIRPathError", "Node", "Path", "compiled", "root"]
