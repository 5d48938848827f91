"""How the gateway asks a service for its figures."""

from functools import cache

from services.kit.calls import ServiceClient
from services.kit.operations.shapes import Operations

DEADLINE_S = 3.0
"""A page that waits for the slowest service says less than one that says which is slow."""


class OperationsClient(ServiceClient):
    async def read(self) -> Operations:
        """Scope `operations:read`."""
        prefix = "/" + self.service.replace("_", "-")
        return Operations.model_validate(await self.get(f"{prefix}/operations", deadline_s=DEADLINE_S))


@cache
def operations_of(service: str) -> type[OperationsClient]:
    """The client of one service: all of them have the same door."""
    return type("OperationsClient", (OperationsClient,), {"service": service})
