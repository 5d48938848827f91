"""`me { learning }`: the lifelong record of the person signed in."""

from datetime import date
from typing import Any

import strawberry
from strawberry.types import Info

from education import shapes
from education.client import CLASSES_IN_RECORD, EducationClient
from services.kit.graphql import Page, first_of, load, page


@strawberry.type(description="A school or other place of learning. 学校或其他教育机构。")
class School:
    id: strawberry.ID
    name: str
    type: str
    identifier: str | None


@strawberry.type(description="A grade, and since when it is known to hold. 年级及起始日期。")
class GradeStep:
    grade: str
    since: date


@strawberry.type(description="A time of enrolment at a school, in one stage. 一段学籍经历。")
class EnrolmentEpisode:
    id: strawberry.ID
    school: School
    stage: str | None = strawberry.field(description="ISCED 2011 level, 0 to 8. 教育阶段(国际教育标准分类)。")
    grade: str | None
    grades: list[GradeStep]
    since: date
    since_is: str = strawberry.field(
        description="How `since` is known: sent, school_year (its start) or received. 起始日期依据。"
    )
    until: date | None = strawberry.field(description="The first day no longer enrolled. 结束日期(不含)。")
    primary: bool = strawberry.field(
        description="False beside the main enrolment, or while a transfer is under way. 是否主学籍。"
    )
    entry_reason: str
    exit_reason: str | None


@strawberry.type(description="A place in a class. 班级或课程中的位置。")
class ClassPlace:
    id: strawberry.ID
    title: str
    course: str | None
    school: str
    terms: list[str]
    role: str
    since: date | None
    until: date | None
    open: bool


@strawberry.type(description="The lifelong record of a learner. 终身学习档案。")
class Learning:
    stage: str | None = strawberry.field(description="Present ISCED level. 当前教育阶段。")
    grade: str | None = strawberry.field(description="Present grade. 当前年级。")
    school: School | None = strawberry.field(description="Present main school. 当前学籍所在学校。")
    episodes: list[EnrolmentEpisode] = strawberry.field(description="Newest first. 学籍经历,由新到旧。")

    @strawberry.field(description="Places in classes, newest first. 班级与课程,由新到旧。")
    async def classes(
        self, info: Info[Any, Any], first: int = CLASSES_IN_RECORD, after: str | None = None
    ) -> Page[ClassPlace] | None:
        record = await _record(info, first_of(first), after)
        if record is None:
            return None
        return page([_place(one) for one in record.classes.items], record.classes.next)


@strawberry.type
class MeFields:
    @strawberry.field(
        description="Own lifelong learning record; null when no school has sent one. 终身学习档案。"
    )
    async def learning(self, info: Info[Any, Any]) -> Learning | None:
        record = await _record(info, CLASSES_IN_RECORD, None)
        return _learning(record) if record is not None and record.known else None


async def _record(info: Info[Any, Any], first: int, after: str | None) -> shapes.LearningRecord | None:
    # A ward's record will come by the same loader, under a key that names the ward.
    return await load(info, EducationClient, EducationClient.my_records, (first, after))


def _learning(record: shapes.LearningRecord) -> Learning:
    return Learning(
        stage=record.stage,
        grade=record.grade,
        school=_school(record.school) if record.school else None,
        episodes=[_episode(one) for one in record.episodes],
    )


def _school(school: shapes.School) -> School:
    return School(
        id=strawberry.ID(str(school.id)), name=school.name, type=school.type, identifier=school.identifier
    )


def _episode(episode: shapes.Episode) -> EnrolmentEpisode:
    return EnrolmentEpisode(
        id=strawberry.ID(str(episode.id)),
        school=_school(episode.school),
        stage=episode.stage,
        grade=episode.grade,
        grades=[GradeStep(grade=step.grade, since=step.since) for step in episode.grades],
        since=episode.since,
        since_is=episode.since_is,
        until=episode.until,
        primary=episode.primary,
        entry_reason=episode.entry_reason,
        exit_reason=episode.exit_reason,
    )


def _place(place: shapes.ClassPlace) -> ClassPlace:
    return ClassPlace(
        id=strawberry.ID(place.id),
        title=place.title,
        course=place.course,
        school=place.school,
        terms=place.terms,
        role=place.role,
        since=place.since,
        until=place.until,
        open=place.open,
    )
