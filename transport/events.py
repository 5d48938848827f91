"""What transport publishes."""

from datetime import datetime
from typing import Literal

from services.kit.events.declared import Data, Declared
from transport.shapes import LevelName


class Bilingual(Data):
    zh: str
    en: str


class Warning(Data):
    """A step of a zone's episode of crowding.

    Attributes:
        warning: what is acknowledged; each level of an episode has one of its own.
        revision: of the episode; none for an acknowledgement, which changes nothing of it.
        people, capacity, share: what the step was taken on.
        organisation: that took it in hand, once it is acknowledged.
    """

    warning: str
    zone: str
    zone_name: Bilingual
    site: str | None
    policy: str
    episode: int
    revision: int | None
    level: LevelName
    previous: LevelName
    people: int
    capacity: int
    share: float
    at: datetime
    cause: Literal["flow", "count"]
    organisation: str | None = None
    text: Bilingual


EVENTS = (
    Declared("transport.warning.raised", Warning, "A zone became crowded. 区域发出客流预警。"),
    Declared("transport.warning.changed", Warning, "Its level rose or fell. 预警级别变化。"),
    Declared("transport.warning.ended", Warning, "The crowd is gone. 预警解除。"),
    Declared("transport.warning.acknowledged", Warning, "Somebody took it in hand. 预警已有人处置。"),
)
