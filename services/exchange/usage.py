"""Who read my data: every access to a person's data, at every service, as the access log has it.

The list is asked of the log each time and kept nowhere. Reading it is an access itself.
"""

from dataclasses import dataclass
from datetime import datetime

from services.audit.client import AuditClient
from services.audit.shapes import Usage as Logged
from services.audit.shapes import UsagePage as LoggedPage
from services.audit.shapes import UsagesRequest
from services.exchange import people, words
from services.exchange.person_shapes import Usage, UsagePage
from services.identity.client import IdentityClient
from services.kit.app import Kit
from services.kit.principals import Principal
from services.kit.problems import not_found
from services.kit.purposes import OWN_RECORDS

READ = "usages.read"
RESOURCE = "Exchange::Usage"


@dataclass(frozen=True, slots=True)
class Asked:
    """Which part of the list.

    Attributes:
        own: whether the person's own reading is among it.
    """

    since: datetime | None = None
    until: datetime | None = None
    own: bool = True
    after: str | None = None
    offset: int = 0
    limit: int = 1000


async def read(
    kit: Kit, who: Principal, asked: Asked, *, code: str | None = None, acting: str | None = None
) -> UsagePage:
    """A page of the list, newest first.

    Args:
        code: whose list; the caller's own without it.
        acting: see `people.admit`.

    Raises:
        Problem: 403 for anybody but the person and their guardian; 400 for a cursor of another list.
        DomainError: identity or the audit does not answer.
    """
    code = code or people.own_code(who)
    decision = await people.admit(kit, who, READ, RESOURCE, code=code, acting=acting)
    found = await _logged(kit, code, asked)
    items = await _in_words(kit, found.items)
    assert kit.leaves is not None
    await kit.leaves.write(
        who,
        action=READ,
        subject=code,
        records=len(items),
        resource="usages",
        purpose=OWN_RECORDS,
        legal_basis=decision.legal_basis,
        reason=decision.reason,
    )
    return UsagePage(items=items, total=found.total, hidden=found.hidden, next=found.next)


async def one(kit: Kit, code: str, leaf_index: int) -> tuple[Usage, str | None]:
    """The one usage, if it is in the person's list, and the organisation it was by, if by one.

    Raises:
        Problem: 404 when it is not; whether there is such a leaf at all is not said.
    """
    subjects = await people.ids_of(kit, code)
    found = await kit.calls.client(AuditClient).usages(
        UsagesRequest(subjects=subjects, index=leaf_index, limit=1)
    )
    if not found.items:
        raise not_found(f"no usage {leaf_index} is in this list", code="not_in_this_list")
    [shown] = await _in_words(kit, found.items)
    return shown, found.items[0].organisation


async def _logged(kit: Kit, code: str, asked: Asked) -> LoggedPage:
    subjects = await people.ids_of(kit, code)
    if not subjects:
        return LoggedPage(items=[], total=0, hidden=0)
    return await kit.calls.client(AuditClient).usages(
        UsagesRequest(
            subjects=subjects,
            since=asked.since,
            until=asked.until,
            own=asked.own,
            after=asked.after,
            offset=asked.offset,
            limit=asked.limit,
        )
    )


async def _in_words(kit: Kit, logged: list[Logged]) -> list[Usage]:
    receivers = [words.receiver_of(usage) for usage in logged]
    names = await words.names(kit.calls.client(IdentityClient), receivers)
    return [words.in_words(usage, names) for usage in logged]
