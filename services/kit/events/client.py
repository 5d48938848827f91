"""How the gateway asks a service for its dead letters."""

from functools import cache
from typing import Any

from services.kit.calls import ServiceClient


class LettersClient(ServiceClient):
    """Of the service that `letters_of` names; asked with `events:replay`."""

    async def letters(self, *, after: int, limit: int) -> dict[str, Any]:
        """A page, `{"items": […], "next": …}`: what waits and why, without the events' data."""
        found: dict[str, Any] = await self.get(self._door, {"after": after, "limit": limit})
        return found

    async def replay(self, id: int) -> None:
        """Has one tried again. Raises DomainError NOT_FOUND when it does not wait (any more)."""
        await self.post(f"{self._door}/{id}/replay")

    @property
    def _door(self) -> str:
        return f"/{self.service.replace('_', '-')}/dead-letters"


@cache
def letters_of(service: str) -> type[LettersClient]:
    return type("LettersClient", (LettersClient,), {"service": service})
