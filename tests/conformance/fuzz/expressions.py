"""FHIRPath and GraphQL over the elements of R4, right ones and nearly right ones."""

from random import Random

from health.fhir.definitions import definitions

_LITERALS = [
    "1", "0", "-1", "1.50", "99999999999999999999", "'x'", "''", "'张'", "true", "{}", "@2020", "@2020-02-30",
    "@0001-01-01", "@9999-12-31T23:59:59+14:00", "@T25", "1 'mg'", "3 days", "10000 years", "$this", "$index",
    "$total", "%resource", "%context", "%x", "Patient", "'('", "'(a+)+$'", "1e9", "'\\u0000'", "'\\ud800'",
]  # fmt: skip
_OPERATORS = [
    "+", "-", "*", "/", "div", "mod", "&", "=", "!=", "~", "!~", "<", ">=", "and", "or", "xor", "implies",
    "in", "contains", "|", "is", "as",
]  # fmt: skip
_FUNCTIONS = [
    "empty", "exists", "not", "all", "allTrue", "count", "distinct", "isDistinct", "where", "select",
    "repeat", "aggregate", "iif", "single", "first", "last", "tail", "skip", "take", "intersect", "exclude",
    "union", "combine", "subsetOf", "children", "descendants", "now", "extension", "hasValue", "resolve",
    "split", "join", "toChars", "type", "getResourceKey", "getReferenceKey", "conformsTo", "htmlChecks",
    "is", "as", "ofType", "sort", "toString", "toInteger", "toDecimal", "toBoolean", "toDate", "toDateTime",
    "toQuantity", "convertsToDate", "indexOf", "substring", "startsWith", "contains", "upper", "trim",
    "length", "replace", "matches", "replaceMatches", "encode", "decode", "escape", "unescape",
    "lowBoundary", "highBoundary", "precision", "comparable", "abs", "ceiling", "truncate", "exp", "ln",
    "log", "sqrt", "power", "round", "memberOf",
]  # fmt: skip
_ARGUMENTS = ["Reference", "string", "Quantity", "System.Integer", "FHIR.Patient"]
_DIRECTIVES = [
    "@first", "@flatten", "@singleton", '@slice(path: "use")', '@slice(path: "$index")', "@skip(if: true)",
    "@include(if: 1)", "@x", "@slice", "@flatten @first",
]  # fmt: skip
_WORDS = ['"a"', '""', "1", "-1", "1e400", "true", "null", '["a", "b"]', "{a: 1}", "a", "$v", '"\\u0000"']


def fhirpath(pick: Random, kind: str, depth: int = 3) -> str:
    """An expression for values of a type."""
    found = pick.choice([*sorted(definitions().elements[kind]), kind, pick.choice(_LITERALS)])
    for _ in range(pick.randrange(depth + 1)):
        match pick.randrange(6):
            case 0:
                found += f".{pick.choice(['code', 'system', 'value', 'start', 'coding', 'reference', 'id'])}"
            case 1:
                found += f"[{pick.choice(['0', '-1', '99999999999', 'x'])}]"
            case 2:
                found = f"{found} {pick.choice(_OPERATORS)} {fhirpath(pick, kind, depth - 1)}"
            case 3:
                found = f"({found})"
            case _:
                inside = [
                    pick.choice(
                        [pick.choice(_ARGUMENTS), pick.choice(_LITERALS), fhirpath(pick, kind, depth - 1)]
                    )
                    for _ in range(pick.choice([0, 0, 1, 1, 1, 2]))
                ]
                found += f".{pick.choice(_FUNCTIONS)}({', '.join(inside)})"
    return found


def graphql(pick: Random, kind: str, root: bool) -> str:
    """A query of the server, or of a resource of the type where it is the `root`."""
    if root:
        return f"{{{_selection(pick, kind, 3)}}}"
    known = sorted(definitions().parameters[kind])
    pairs = [
        f"{pick.choice(known).replace('-', '_')}: {pick.choice(_WORDS)}" for _ in range(pick.randrange(3))
    ]
    pairs += pick.choice([[], ["_count: 2"], ['_sort: "_id"'], ["_count: 0"], ['_cursor: "x"']])
    within = _selection(pick, kind, 3)
    declared = pick.choice(["", "", 'query q($v: String = "a") ', "fragment f on Patient {id} query "])
    match pick.randrange(3):
        case 0:
            return f'{declared}{{{kind}(id: "p1") {{{within}}}}}'
        case 1:
            edges = f"count offset pagesize first next edges {{mode resource {{{within}}}}}"
            return f"{declared}{{{kind}Connection({_given(pairs)} {{{edges}}}}}"
    return f"{declared}{{{kind}List({_given(pairs)} {{{within}}}}}"


def _given(pairs: list[str]) -> str:
    return f"{', '.join(pairs) or '_count: 1'})"


def _selection(pick: Random, kind: str, depth: int) -> str:
    elements = definitions().elements[kind]
    found = ["__typename"]
    for name in pick.choices(sorted(elements), k=pick.choice([1, 2, 3])):
        alias = pick.choice(["", "", "a: "])
        directive = f" {pick.choice(_DIRECTIVES)}" if pick.randrange(3) == 0 else ""
        type_ = elements[name].rstrip("*")
        below = ""
        if type_ in definitions().elements and depth > 0:
            below = f" {{{_selection(pick, type_, depth - 1)}}}"
        arguments = ""
        if pick.randrange(3) == 0:
            expression = fhirpath(pick, kind, 2).replace("\\", "\\\\").replace('"', '\\"')
            among = [f'fhirpath: "{expression}"', "_count: 1", "_offset: 9999999999999999999", 'use: "x"']
            arguments = f"({pick.choice(among)})"
        found.append(f"{alias}{name}{arguments}{directive}{below}")
    if "reference" in elements:
        found.append(f"resource(optional: true) {{... on Patient {{{_selection(pick, 'Patient', 0)}}}}}")
    elif kind in definitions().resources and depth > 0 and pick.randrange(3) == 0:
        found.append(
            f"ObservationList(_reference: patient, _count: 2) {{{_selection(pick, 'Observation', 1)}}}"
        )
    return " ".join(found)
