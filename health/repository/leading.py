"""Which clause of a search leads: the one with the fewest rows, counted as far as it matters.

A planner knows hashed keys by their average only, and would run through a type for want of better. So the
rows under each clause are counted up to a limit, in the index; the smallest leads and the others are probed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from health.criteria import (
    AnyOf,
    Between,
    Chained,
    Clause,
    Criteria,
    Ids,
    Pointed,
    Present,
    References,
    Texts,
    Tokens,
    Updated,
)
from health.reaching import Reach
from health.repository.clauses import any_one, between, holds, present, seen, texts, updated
from health.repository.reach import Args
from services.kit.database import Connection

FEW = 300
MANY = 10_000
"""Rows that are gathered and put in order before the first is shown; with more, an index gives the order."""


@dataclass(frozen=True, slots=True)
class Lead:
    """The clause whose rows a search runs through.

    Attributes:
        inner: what leads the search inside it, where it is a chain.
        rows: of the index, as far as they were counted.
        others: chains that do not lead but have few ends.
    """

    clause: Clause
    inner: "Lead | None" = None
    rows: int = MANY
    others: tuple["Lead", ...] = ()

    @property
    def few(self) -> bool:
        return self.rows < MANY

    @property
    def roughly(self) -> bool:
        """Whether the clause is to be asked of its rows too: they are all it may hold for, and some more."""
        return (
            isinstance(self.clause, Pointed)
            and self.clause.patient
            and self.inner is not None
            and ordered(self.inner.clause)
        )


async def leading(db: Connection, reach: Reach, criteria: Criteria, *, counted: bool = True) -> Lead | None:
    """What leads the search; None where nothing can but the types themselves.

    Args:
        counted: its rows count too where nothing else could lead, and its index gives the order.
    """
    leads = [lead for c in criteria.clauses if (lead := await _lead(db, reach, criteria, c)) is not None]
    leads.sort(key=lambda lead: not ordered(lead.clause))
    if not counted and len(leads) == 1 and ordered(leads[0].clause):
        return leads[0]
    for most in (FEW, MANY):
        known = await _counted(db, reach, criteria, leads, most) if leads else []
        least = min(known, key=lambda lead: lead.rows, default=None)
        if least is not None and least.rows < most:
            return _among(leads, least)
    return _among(leads, leads[0]) if leads else None


def _among(leads: Iterable[Lead], first: Lead) -> Lead:
    few = [
        lead
        for lead in leads
        if isinstance(lead.clause, Chained) and lead.inner is not None and lead.inner.rows < FEW
    ]
    return replace(first, others=tuple(lead for lead in few if lead.clause is not first.clause))


def ordered(clause: Clause) -> bool:
    """Whether the clause's index gives resources in the order they came."""
    return isinstance(clause, Tokens | References)


async def _lead(db: Connection, reach: Reach, criteria: Criteria, clause: Clause) -> Lead | None:
    if not _leads(clause):
        return None
    if not isinstance(clause, Chained | Pointed):
        return Lead(clause)
    inner = await leading(db, reach, _inside(clause))
    return Lead(clause, inner) if inner is not None and inner.few else None


def _leads(clause: Clause) -> bool:
    match clause:
        case Between(_, any_of) | Updated(any_of):
            return all(bounds.comparison != "ne" for bounds in any_of)
        case Texts(_, any_of):
            return all(text.match != "contains" for text in any_of)
        case AnyOf(clauses):
            return all(_leads(c) and not isinstance(c, AnyOf | Chained | Pointed) for c in clauses)
        case Present(rows):
            return all(table != "ref" for table, _ in rows)
        case Ids() | Tokens() | References() | Chained() | Pointed():
            return True
    return False


def _inside(clause: Chained | Pointed) -> Criteria:
    return clause.to if isinstance(clause, Chained) else clause.by


async def _counted(
    db: Connection, reach: Reach, criteria: Criteria, leads: Sequence[Lead], most: int
) -> list[Lead]:
    args = Args()
    counts = [
        f"(select count(*) from (select from ({source(criteria, lead, args, reach)}) s limit {args(most)}) c)"
        for lead in leads
    ]
    row = await db.fetchrow(f"select {', '.join(counts)}", *args.values)
    assert row is not None
    return [Lead(lead.clause, lead.inner, rows) for lead, rows in zip(leads, row.values(), strict=True)]


def holds_beside(lead: Lead | None, clause: Clause, args: Args, pk: str, reach: Reach) -> str:
    """That a clause holds for a resource, beside what leads; where a chain has few ends, these come first."""
    chain = next((one for one in lead.others if one.clause is clause), None) if lead is not None else None
    if chain is None or not isinstance(clause, Chained):
        return holds(clause, args, pk, reach)
    ends = f"array({_meant(clause.to, chain.inner, args, reach)})"
    return f"""exists (select from ref f where f.pk = {pk} and f.key = any({args(list(clause.keys))})
                   and f.target = any({ends}) offset 0)"""


def source(criteria: Criteria, lead: Lead, args: Args, reach: Reach) -> str:
    """A select of the keys (`pk`) of all resources for which the leading clause holds, some perhaps twice."""
    return " union all ".join(_selects(criteria, lead.clause, lead.inner, args, reach))


def _selects(
    criteria: Criteria, clause: Clause, inner: Lead | None, args: Args, reach: Reach
) -> Iterable[str]:
    match clause:
        case Ids(ids):
            yield f"select i.pk {_resources(criteria, args)} and i.id = any({args(list(ids))})"
        case Updated(any_of):
            yield f"select i.pk {_resources(criteria, args)} and {updated(any_of, args, 'i')}"
        case Tokens(hashes):
            yield f"select t.pk from tok t where t.hash = any({args(list(hashes))})"
        case References(hashes):
            yield f"select f.pk from ref f where f.hash = any({args(list(hashes))})"
        case Between(table, any_of):
            for bounds in any_of:
                yield f"select d.pk from {table} d where {between(bounds, args, table)}"
        case Texts(table, any_of):
            for text in any_of:
                yield f"select s.pk from {table} s where {any_one(texts([text], table, args))}"
        case Present(rows):
            for holder, key in rows:
                yield f"select x.pk from {present(holder, key, args)}"
        case AnyOf(clauses):
            for one in clauses:
                yield from _selects(criteria, one, None, args, reach)
        case Chained(keys, to):
            # `offset 0` keeps the order of the joins: from the few that are meant to their referrers.
            yield f"""select f.pk from ({_meant(to, inner, args, reach)}) x cross join lateral (
                select f.pk from ref f
                where f.target = x.pk and f.key = any({args(list(keys))}) offset 0) f"""
        case Pointed(_, _, True) if inner is not None and isinstance(inner.clause, Tokens | References):
            yield _patients(inner.clause, args)
        case Pointed(keys, by, _):
            yield f"""select f.target as pk from ({_meant(by, inner, args, reach)}) x cross join lateral (
                select f.target from ref f
                where f.pk = x.pk and f.key = any({args(list(keys))}) and f.target is not null offset 0) f"""


def _patients(clause: Tokens | References, args: Args) -> str:
    """In whose compartments the resources are for which the clause holds."""
    table = "tok" if isinstance(clause, Tokens) else "ref"
    return f"select c.pt as pk from {table} c where c.hash = any({args(list(clause.hashes))})"


def _resources(criteria: Criteria, args: Args) -> str:
    return f"from resource i where i.type = any({args(list(criteria.types))})"


def _meant(criteria: Criteria, lead: Lead | None, args: Args, reach: Reach) -> str:
    """What is chained to: gathered, each once, and seen by the caller."""
    assert lead is not None, "a chain leads only where something leads inside it"
    return f"""select hit.pk from (select distinct s.pk from ({source(criteria, lead, args, reach)}) s) hit
               where {seen(without(criteria, lead), args, "hit.pk", reach)}"""


def without(criteria: Criteria, lead: Lead | None) -> Criteria:
    """What is still to be asked of the rows that lead."""
    if lead is None or lead.roughly:
        return criteria
    return Criteria(criteria.types, tuple(c for c in criteria.clauses if c is not lead.clause))
