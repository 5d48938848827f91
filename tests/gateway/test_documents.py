"""Documents that cost too much are refused before they are validated at length."""

import pytest
from graphql import build_schema, get_introspection_query

from gateway.documents import MAX_ALIASES, MAX_DEPTH, MAX_FIELDS, Documents, Refused

SCHEMA = build_schema("type Query { a: Query b: Int }")


def documents(*, introspection: bool = False) -> Documents:
    return Documents(SCHEMA, introspection=introspection)


def nested(depth: int) -> str:
    return "{ " + "a { " * (depth - 1) + "b" + " }" * (depth - 1) + " }"


def refusal_of(text: str) -> Refused:
    with pytest.raises(Refused) as refused:
        documents().checked(text)
    return refused.value


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(nested(MAX_DEPTH + 1), id="depth"),
        pytest.param(
            "{ ...one } fragment one on Query { a { ...two } } "
            + f"fragment two on Query {nested(MAX_DEPTH)}",
            id="depth over two fragments",
        ),
        pytest.param("{ " + " ".join(f"x{i}: b" for i in range(MAX_ALIASES + 1)) + " }", id="aliases"),
        pytest.param("{ " + "b " * (MAX_FIELDS + 1) + "}", id="fields"),
        pytest.param("{ b " + "@include(if: true) " * 51 + "}", id="directives"),
        pytest.param(
            "{ ...a ...a } "
            + " ".join(
                f"fragment {x} on Query {{ ...{y} ...{y} }}"
                for x, y in zip("abcdefghijklmn", "bcdefghijklmno", strict=True)
            )
            + " fragment o on Query { b }",
            id="fragments doubled fifteen times",
        ),
    ],
)
def test_a_document_over_a_limit_is_refused_as_too_costly(text: str) -> None:
    assert refusal_of(text).errors[0].extensions == {"code": "COST_EXCEEDED"}


def test_documents_at_the_limits_pass() -> None:
    documents().checked(nested(MAX_DEPTH))
    documents().checked("{ " + " ".join(f"x{i}: b" for i in range(MAX_ALIASES)) + " }")


def test_too_many_tokens_are_refused_while_parsing() -> None:
    refused = refusal_of("{ " + " ".join(f"x{i}: b" for i in range(100_000)) + " }")
    assert "token" in refused.errors[0].message


def test_a_fragment_cycle_is_an_error_and_ends() -> None:
    assert "itself" in refusal_of("{ ...x } fragment x on Query { a { ...x } }").errors[0].message


def test_introspection_is_refused_where_it_is_off_and_answered_where_it_is_on() -> None:
    assert "introspection" in refusal_of("{ __schema { types { name } } }").errors[0].message
    documents(introspection=True).checked("{ __schema { types { name } } }")
    documents(introspection=True).checked(get_introspection_query())


def test_a_document_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = documents()
    first = kept.checked("{ b }")
    monkeypatch.setattr(kept, "_check", lambda text: pytest.fail("checked twice"))
    assert kept.checked("{ b }") is first


def test_the_oldest_documents_leave_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.documents.KEPT_DOCUMENTS", 2)
    kept = documents()
    for text in ("{ b }", "{ a { b } }", "{ a { a { b } } }"):
        kept.checked(text)
    assert list(kept._kept) == ["{ a { b } }", "{ a { a { b } } }"]
    assert kept._bytes == sum(map(len, kept._kept))


def test_the_operation_asked_for_must_be_there_and_unique() -> None:
    two = documents().checked("query x { b } query y { b }")
    assert two.operation("y") is not None
    assert two.operation("z") is None
    assert two.operation(None) is None
