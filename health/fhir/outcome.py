"""OperationOutcome: how every refusal on `/fhir` is told (FHIR R4, http.html#operations)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from health.fhir.definitions import definitions
from services.kit.problems import Fault, Problem

MEDIA_TYPE = "application/fhir+json; fhirVersion=4.0; charset=utf-8"
ISSUES_SHOWN = 50
"""A bundle may be wrong in a thousand places; its sender needs the first ones and the number."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue: a code of `issue-type`, what is wrong and what to do, where it stands.

    Attributes:
        expression: FHIRPath rooted at what was sent, e.g. `Bundle.entry[3].resource.subject.reference`.
    """

    code: str
    diagnostics: str
    expression: str | None = None
    severity: str = "error"
    line: int | None = None
    column: int | None = None

    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "severity": self.severity,
            "code": self.code,
            "diagnostics": self.diagnostics,
        }
        if self.expression is not None:
            found["expression"] = [self.expression]
        if self.line is not None:
            found["location"] = [f"line {self.line}, column {self.column}"]
        return found


class Refusal(Problem):
    """An interaction that is refused, with everything found wrong."""

    def __init__(
        self, status: int, issues: Sequence[Issue], *, headers: Mapping[str, str] | None = None
    ) -> None:
        first = issues[0]
        super().__init__(status, first.code.replace("-", "_"), first.diagnostics, headers=headers)
        self.issues = list(issues)


def refused(
    status: int, code: str, diagnostics: str, expression: str | None = None, **headers: str
) -> Refusal:
    """A refusal with one issue."""
    return Refusal(status, [Issue(code, diagnostics, expression)], headers=headers)


def expression(path: str, steps: Sequence[str | int]) -> str:
    """FHIRPath of a place in JSON: `valueQuantity` is `value.ofType(Quantity)`, `_given` is `given`."""
    choices = definitions().choices
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step in choices:
            base, kind = choices[step]
            path += f".{base}.ofType({kind})"
        else:
            path += f".{step.removeprefix('_')}"
    return path


def outcome(issues: Sequence[Issue]) -> bytes:
    """The OperationOutcome resource as it goes over the wire."""
    shown = [issue.body() for issue in issues[:ISSUES_SHOWN]]
    if len(issues) > ISSUES_SHOWN:
        rest = len(issues) - ISSUES_SHOWN
        shown.append(
            Issue("informational", f"{rest} more issues are not shown", severity="information").body()
        )
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": shown})


def render(problem: Problem) -> Response:
    """Any Problem as an OperationOutcome (the error form of the `/fhir` mount)."""
    issues = problem.issues if isinstance(problem, Refusal) else issues_of(problem)
    return Response(outcome(issues), problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


_CODE_OF_STATUS = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    409: "conflict",
    410: "deleted",
    412: "conflict",
    413: "too-long",
    415: "not-supported",
    422: "processing",
    429: "throttled",
    503: "transient",
    504: "timeout",
    507: "no-store",
}


def issues_of(problem: Problem) -> list[Issue]:
    code = _CODE_OF_STATUS.get(problem.status, "exception")
    severity = "fatal" if problem.status >= 500 else "error"
    if not problem.faults:
        return [Issue(code, problem.detail, severity=severity)]
    return [_issue_of(fault, code, severity) for fault in problem.faults]


def _issue_of(fault: Fault, code: str, severity: str) -> Issue:
    words = fault.message if fault.hint is None else f"{fault.message}; {fault.hint}"
    return Issue(code, words, fault.path or fault.field, severity, fault.line, None)
