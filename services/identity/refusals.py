"""Refusals of the token endpoint, named as OAuth names them (RFC 6749 section 5.2, RFC 8693)."""

from services.kit.problems import Problem


def invalid_request(detail: str) -> Problem:
    return Problem(400, "invalid_request", detail)


def invalid_client(detail: str) -> Problem:
    return Problem(401, "invalid_client", detail)


def invalid_grant(detail: str) -> Problem:
    return Problem(400, "invalid_grant", detail)


def invalid_scope(detail: str) -> Problem:
    return Problem(400, "invalid_scope", detail)


def invalid_target(detail: str) -> Problem:
    return Problem(400, "invalid_target", detail)


def unauthorized_client(detail: str) -> Problem:
    return Problem(400, "unauthorized_client", detail)
