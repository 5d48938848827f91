"""`me { health { … } }`: a person's own record."""

from typing import Annotated, Any

import strawberry
from strawberry.types import Info

from health import shapes
from health.client import HealthClient
from health.shapes import RecordQuery, RecordType
from services.kit.graphql import Page, first_of, load, page

First = Annotated[int, strawberry.argument(description="How many, 1 to 100. 条数。")]
After = Annotated[str | None, strawberry.argument(description="endCursor of the page before. 上一页游标。")]
ByCode = Annotated[
    str | None,
    strawberry.argument(description="code or system|code, e.g. http://loinc.org|8480-6. 编码。"),
]


@strawberry.type(name="HealthCode", description="A code of a terminology. 术语编码。")
class Code:
    system: str | None
    code: str | None
    display: str | None


@strawberry.type(
    name="HealthValue", description="A measured value; number is as the laboratory wrote it. 检测值。"
)
class Value:
    number: str | None
    unit: str | None
    text: str | None


@strawberry.type(name="HealthComponent", description="One of several values measured together. 分项。")
class Component:
    title: str | None
    codes: list[Code]
    value: Value | None


@strawberry.type(
    name="HealthEntry", description="An entry of the record; date is as precise as it was written. 健康记录。"
)
class Entry:
    id: strawberry.ID
    type: str
    date: str | None
    end: str | None
    status: str | None
    title: str | None
    codes: list[Code]
    categories: list[str]
    organisation: str | None


@strawberry.type(name="HealthObservation", description="A result or measurement. 检查检验结果。")
class Observation(Entry):
    value: Value | None
    components: list[Component]


@strawberry.type(name="HealthPatient", description="How one hospital knows the person. 医院登记信息。")
class Patient:
    id: strawberry.ID
    name: str | None
    gender: str | None
    birth_date: str | None
    death_date: str | None
    organisation: str | None


@strawberry.type(description="The person's health record, the latest first. 本人健康档案。")
class HealthRecord:
    @strawberry.field(description="Everything in one list. 全部记录。")
    async def timeline(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(info, _TIMELINE, None, first, after)

    @strawberry.field(description="The person as each hospital has it. 各医院登记信息。")
    async def patients(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[Patient] | None:
        found = await _asked(info, ("Patient",), None, first, after)
        return page([_patient(r) for r in found.items], found.next) if found else None

    @strawberry.field(description="Visits and stays. 就诊记录。")
    async def encounters(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(info, ("Encounter",), None, first, after)

    @strawberry.field(description="Results and measurements. 检查检验结果。")
    async def observations(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Observation] | None:
        found = await _asked(info, ("Observation",), code, first, after)
        return page([_observation(r) for r in found.items], found.next) if found else None

    @strawberry.field(description="Diagnoses and problems. 诊断。")
    async def conditions(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(info, ("Condition",), code, first, after)

    @strawberry.field(description="Vaccinations. 预防接种。")
    async def immunizations(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(info, ("Immunization",), None, first, after)

    @strawberry.field(description="Prescriptions. 处方。")
    async def medications(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(info, ("MedicationRequest",), code, first, after)

    @strawberry.field(description="Procedures and operations. 手术与操作。")
    async def procedures(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(info, ("Procedure",), code, first, after)

    @strawberry.field(description="Reports. 检查报告。")
    async def reports(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(info, ("DiagnosticReport",), code, first, after)

    @strawberry.field(description="Allergies and intolerances. 过敏史。")
    async def allergies(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(info, ("AllergyIntolerance",), code, first, after)


@strawberry.type
class MeFields:
    @strawberry.field(description="The person's health record. 本人健康档案。")
    def health(self) -> HealthRecord | None:
        return HealthRecord()


_TIMELINE: tuple[RecordType, ...] = (
    "AllergyIntolerance",
    "Condition",
    "DiagnosticReport",
    "Encounter",
    "Immunization",
    "MedicationRequest",
    "Observation",
    "Procedure",
)


async def _asked(
    info: Info[Any, Any], types: tuple[RecordType, ...], code: str | None, first: int, after: str | None
) -> shapes.RecordPage | None:
    query = RecordQuery(types, code, first_of(first), after)
    return await load(info, HealthClient, HealthClient.records, query)


async def _entries(
    info: Info[Any, Any], types: tuple[RecordType, ...], code: str | None, first: int, after: str | None
) -> Page[Entry] | None:
    found = await _asked(info, types, code, first, after)
    return page([_entry(record) for record in found.items], found.next) if found else None


def _common(record: shapes.Record) -> dict[str, Any]:
    return {
        "id": strawberry.ID(record.id),
        "type": record.type,
        "date": record.date,
        "end": record.end,
        "status": record.status,
        "title": record.title,
        "codes": [_code(code) for code in record.codes],
        "categories": record.categories,
        "organisation": record.organisation,
    }


def _entry(record: shapes.Record) -> Entry:
    return Entry(**_common(record))


def _observation(record: shapes.Record) -> Observation:
    components = [
        Component(title=c.title, codes=[_code(code) for code in c.codes], value=_value(c.value))
        for c in record.components
    ]
    return Observation(**_common(record), value=_value(record.value), components=components)


def _patient(record: shapes.Record) -> Patient:
    return Patient(
        id=strawberry.ID(record.id),
        name=record.name,
        gender=record.gender,
        birth_date=record.birth_date,
        death_date=record.death_date,
        organisation=record.organisation,
    )


def _code(code: shapes.Code) -> Code:
    return Code(system=code.system, code=code.code, display=code.display)


def _value(value: shapes.Value | None) -> Value | None:
    return None if value is None else Value(number=value.number, unit=value.unit, text=value.text)
