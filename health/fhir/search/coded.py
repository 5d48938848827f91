"""Value sets and hierarchies that a search names (`:in`, `:not-in`, `:above`, `:below`) as codes."""

from collections.abc import Iterable
from dataclasses import replace

from health import terminology
from health.criteria import AnyOf, Chained, Clause, Coded, Criteria, Not, Pointed, Tokens
from health.fhir.outcome import refused
from health.fhir.search.criteria import token_forms
from health.reaching import Reach
from services.kit.database import Connection, Database


async def settled_first(database: Database, reach: Reach, criteria: Criteria) -> Criteria:
    """As `settled`, before a connection is taken that only reads: concepts of a CodeSystem are put into their
    table when they are asked for first."""
    if not any(map(_is_coded, criteria.clauses)):
        return criteria
    async with database.session() as db:
        return await settled(db, reach, criteria)


def _is_coded(clause: Clause) -> bool:
    match clause:
        case Not(inner):
            return _is_coded(inner)
        case AnyOf(clauses) | Chained(_, Criteria(_, clauses)) | Pointed(_, Criteria(_, clauses)):
            return any(map(_is_coded, clauses))
    return isinstance(clause, Coded)


async def settled(db: Connection, reach: Reach, criteria: Criteria) -> Criteria:
    """The criteria with the codes that value sets and hierarchies stand for.

    Raises:
        Refusal: 400 for a value set or code that is not known here; 422 for one that cannot be told.
    """
    clauses = [await _settled(db, reach, clause) for clause in criteria.clauses]
    return replace(criteria, clauses=tuple(clauses))


async def _settled(db: Connection, reach: Reach, clause: Clause) -> Clause:
    match clause:
        case Not(inner):
            return Not(await _settled(db, reach, inner))
        case AnyOf(clauses):
            return AnyOf(tuple([await _settled(db, reach, one) for one in clauses]))
        case Chained(keys, to):
            return Chained(keys, await settled(db, reach, to))
        case Pointed(_, by):
            return replace(clause, by=await settled(db, reach, by))
        case Coded(relation, asked, names):
            codes = await _codes(db, reach, relation, asked)
            hashes = (hash for kind, name in names for one in codes for hash in token_forms(kind, name, *one))
            return Tokens(tuple(hashes))
    return clause


async def _codes(
    db: Connection, reach: Reach, relation: str, asked: tuple[str, ...]
) -> Iterable[tuple[str, str]]:
    try:
        if relation == "in":
            found = await terminology.codes_of(db, reach, asked[0])
        else:
            look = terminology.above if relation == "above" else terminology.below
            codes = await look(db, reach, *asked)
            found = None if codes is None else [(asked[0], code) for code in codes]
    except terminology.TerminologyError as error:
        raise refused(error.status, error.code, str(error), f":{relation}") from error
    if found is None:
        raise refused(400, "not-found", f"{'|'.join(asked)[:200]} is not known here", f":{relation}")
    return found
