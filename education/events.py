"""What education publishes."""

from typing import Literal

from services.kit.events.declared import Data, Declared


class TakenOfFile(Data):
    """What became of one file's rows, as its receipt has it."""

    mode: Literal["bulk", "delta"]
    rows_in: int
    inserted: int
    updated: int
    unchanged: int
    ended: int
    quarantined: int
    stale: int


class RosterImported(Data):
    """A school's roster.

    Attributes:
        source: the client that sent it.
        files: what was taken of each, by the file's name.
    """

    import_id: str
    source: str
    sha256: str
    files: dict[str, TakenOfFile]


EVENTS = (Declared("education.roster.imported", RosterImported, "A roster was taken in. 名册已接收。"),)
