"""The form in which an error leaves the gateway: coded, with the service it is about, nothing unforeseen."""

from typing import Any

from graphql import GraphQLError

from services.kit import telemetry
from services.kit.graphql import graphql_error

MASKED = "an unforeseen error; it has been recorded / 内部错误，已记录"


def coded_error(error: GraphQLError, trace_id: str) -> GraphQLError:
    """The error with `extensions.code`, `service` and `traceId`; what nobody foresaw is masked and logged."""
    extensions: dict[str, Any] = dict(error.extensions or {})
    message = error.message
    original = error.original_error
    if original is not None and not isinstance(original, GraphQLError):
        found = graphql_error(original, trace_id)
        if found is None:
            telemetry.logger("gateway").error("unforeseen error in a resolver", exc_info=original)
            message, found = MASKED, {"code": "INTERNAL"}
        extensions = found
    # An error without a path is about the request: its text, its variables.
    extensions.setdefault("code", "INTERNAL" if error.path else "BAD_USER_INPUT")
    if trace_id:
        extensions.setdefault("traceId", trace_id)
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )
