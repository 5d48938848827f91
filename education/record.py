"""The lifelong record of a learner: where they were enrolled, from when to when, and in which classes."""

from education.repository import record as rows
from education.shapes import (
    ClassPlace,
    ClassPlacePage,
    Episode,
    GradeStep,
    LearningRecord,
    Organisation,
    OrganisationPage,
    School,
)
from services.kit.cursors import decode_cursor, encode_cursor
from services.kit.database import Connection, Row
from services.kit.principals import Principal
from services.kit.problems import forbidden


def own_id(who: Principal) -> str:
    """The caller's own sector id.

    Raises:
        Problem: 403 when the token speaks for no person.
    """
    if who.sector_id is None:
        raise forbidden("the record is read by the person it is about; this token is of no person")
    return who.sector_id


async def record(db: Connection, who: Principal, *, first: int, after: str | None) -> LearningRecord:
    """The caller's own record, under whichever of their ids it was stored; of nobody known it is empty."""
    readable = rows.readable(who)
    known = await rows.known(db, readable)
    episodes = [_episode(row) for row in await rows.episodes(db, readable)]
    now = next((e for e in episodes if e.primary and e.until is None), None)
    return LearningRecord(
        known=known,
        stage=now.stage if now else None,
        grade=now.grade if now else None,
        school=now.school if now else None,
        episodes=episodes,
        classes=await _classes(db, readable, first=first, after=after),
    )


async def organisations(db: Connection, *, source: str, first: int, after: str | None) -> OrganisationPage:
    """The organisations that a sender keeps with us."""
    behind = decode_cursor(after, 1)[0] if after else ""
    found = await rows.organisations(db, source, after=behind, limit=first + 1)
    following = encode_cursor(found[first - 1]["sourced_id"]) if len(found) > first else None
    return OrganisationPage(
        items=[Organisation.model_validate(dict(row)) for row in found[:first]], next=following
    )


async def _classes(db: Connection, readable: list[str], *, first: int, after: str | None) -> ClassPlacePage:
    since = source = sourced_id = None
    if after:
        since, source, sourced_id = decode_cursor(after, 3)
    key = (since, source, sourced_id) if since and source and sourced_id else None
    found = await rows.classes(db, readable, after=key, limit=first + 1)
    following = None
    if len(found) > first:
        last = found[first - 1]
        following = encode_cursor(last["since"], last["source"], last["sourced_id"])
    return ClassPlacePage(items=[_place(row) for row in found[:first]], next=following)


def _episode(row: Row) -> Episode:
    school = School(
        id=row["organisation_id"], name=row["name"], type=row["type"], identifier=row["identifier"]
    )
    return Episode(
        id=row["id"],
        school=school,
        stage=row["stage"],
        grade=row["grade"],
        grades=[GradeStep(grade=grade, since=since) for grade, since in row["grades"]],
        since=row["valid_from"],
        since_is=row["from_basis"],
        until=row["valid_to"],
        primary=row["is_primary"],
        entry_reason=row["entry_reason"],
        exit_reason=row["exit_reason"],
    )


def _place(row: Row) -> ClassPlace:
    return ClassPlace(
        id=f"{row['source']}/{row['sourced_id']}",
        title=row["title"],
        course=row["course"],
        school=row["school"],
        terms=row["terms"],
        role=row["role"],
        since=row["begin_date"],
        until=row["end_date"],
        open=row["open"],
    )
