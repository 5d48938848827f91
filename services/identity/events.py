"""What identity publishes: totals of registers, and what changed for a sector sealed to that sector."""

from services.identity.shapes import Accepted
from services.kit.events.declared import Data, Declared


class ClientRegistered(Data):
    client_id: str
    kind: str
    organisation: str | None


class SectorRekeyed(Data):
    """Everybody has an id of a new version, which is given out from now on or soon.

    Attributes:
        overlap_days: for which ids of the version before are understood too.
    """

    sector: str
    version: int
    from_version: int
    overlap_days: int


class PersonsMatched(Data):
    """Entries of the register turned out to be one person, or not to be.

    Attributes:
        sealed: the sector's ids and the one they go by now, for that sector's service alone.
    """

    sector: str
    sealed: str


EVENTS = (
    Declared("identity.client.registered", ClientRegistered, "A client was registered. 已登记接入方。"),
    Declared("identity.sector.rekeyed", SectorRekeyed, "A sector has new ids. 领域标识已换钥。"),
    Declared("identity.persons.merged", PersonsMatched, "Entries are one person. 人员条目已合并。"),
    Declared("identity.persons.unmerged", PersonsMatched, "Entries are two persons again. 人员条目已拆分。"),
    *(
        Declared(f"identity.{what}.registered", Accepted, f"Entries of the register of {what}. {zh}已登记。")
        for what, zh in {
            "births": "出生",
            "deaths": "死亡",
            "guardianships": "监护关系",
            "households": "家庭户",
            "moves": "迁移",
            "organisations": "法人",
            "places": "地点",
        }.items()
    ),
)
