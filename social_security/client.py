"""How the gateway calls the service; batch reads first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from services.kit.calls import DomainError, ServiceClient
from social_security.shapes import AuditRun, Finding, FindingStatus, PageOf, Record

Part = Literal["contributions", "payments", "claims", "findings"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A part of one's own record, as a field of a query asks for it."""

    part: Part
    first: int = 20
    after: str | None = None


class SocialSecurityClient(ServiceClient):
    """Records, findings, audit runs."""

    service = "social_security"

    async def my_parts(self, asked: list[Asked]) -> Sequence[Record | DomainError | None]:
        """Parts of the session's own record, in the order asked; different parts travel together.

        Raises:
            DomainError: the service does not answer, or a cursor or size is not one it takes.
        """
        calls: list[dict[Part, Asked]] = []
        for one in asked:
            # The same part twice in a query (under two aliases) needs a second call; nothing else does.
            room = next((call for call in calls if call.get(one.part, one) == one), None)
            if room is None:
                room = {}
                calls.append(room)
            room[one.part] = one
        found = {one: record for call in calls for one, record in await self._parts(call)}
        return [found[one] for one in asked]

    async def _parts(self, call: dict[Part, Asked]) -> list[tuple[Asked, Record]]:
        params: dict[str, Any] = {"parts": ",".join(sorted(call))}
        for part, one in call.items():
            if part != "contributions":
                params |= {f"{part}_first": one.first, f"{part}_after": one.after}
        record = Record.model_validate(await self.get("/social-security/records/me", params))
        return [(one, record) for one in call.values()]

    async def findings(
        self,
        *,
        first: int = 20,
        after: str | None = None,
        rule: str | None = None,
        status: FindingStatus | None = None,
    ) -> PageOf[Finding]:
        """Findings in the caller's areas, by amount at risk, largest first."""
        params = {"first": first, "after": after, "rule": rule, "status": status}
        return PageOf[Finding].model_validate(await self.get("/social-security/findings", params))

    async def audit_run(self, run_id: UUID) -> AuditRun:
        return AuditRun.model_validate(await self.get(f"/social-security/audit-runs/{run_id}"))
