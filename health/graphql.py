"""`me { health { … } }`: a person's own record; `patientRecord`, and records opened in an emergency."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, TypeVar
from uuid import UUID

import strawberry
from pydantic import ValidationError
from strawberry.types import Info

from health import shapes
from health.client import HealthClient
from health.shapes import EmergencyRequest, RecordQuery, RecordType, ReviewDecision
from services.kit.graphql import Page, client_of, coded, first_of, load, page

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


@strawberry.enum(name="HealthReviewState", description="State of an access review. 复核状态。")
class ReviewState(Enum):
    PENDING = "pending"
    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"


@strawberry.type(
    name="HealthEmergencyAccess", description="A record opened in an emergency, until endsAt. 紧急查阅。"
)
class EmergencyAccess:
    id: strawberry.ID
    patient: strawberry.ID
    reason: str
    begun_at: datetime
    ends_at: datetime
    review_due_at: datetime


@strawberry.type(
    name="HealthOpenedRecord",
    description="An emergency opening of one's own record, and what its review came to. 本人档案被紧急查阅。",
)
class OpenedRecord:
    id: strawberry.ID
    organisation: str
    reason: str
    begun_at: datetime
    ends_at: datetime
    state: ReviewState
    words: str | None
    decided_at: datetime | None


@strawberry.type(
    name="HealthTreatmentClaim",
    description="An organisation that says that it treats the person. 登记为本人诊疗的机构。",
)
class TreatmentClaim:
    organisation: str
    claimed_at: datetime
    objected_at: datetime | None


@strawberry.type(name="HealthAccessReview", description="The review of an emergency access. 紧急查阅复核。")
class AccessReview:
    id: strawberry.ID
    organisation: str
    patient: strawberry.ID
    actor: str
    reason: str
    begun_at: datetime
    ends_at: datetime
    due_at: datetime
    overdue: bool
    state: ReviewState
    words: str | None
    decided_by: str | None
    decided_at: datetime | None


@strawberry.type(description="A person's health record, the latest first. 健康档案。")
class HealthRecord:
    patient: strawberry.Private[str | None] = None

    @strawberry.field(description="Everything in one list. 全部记录。")
    async def timeline(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(self, info, _TIMELINE, None, first, after)

    @strawberry.field(description="The person as each hospital has it. 各医院登记信息。")
    async def patients(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[Patient] | None:
        found = await _asked(self, info, ("Patient",), None, first, after)
        return page([_patient(r) for r in found.items], found.next) if found else None

    @strawberry.field(description="Visits and stays. 就诊记录。")
    async def encounters(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(self, info, ("Encounter",), None, first, after)

    @strawberry.field(description="Results and measurements. 检查检验结果。")
    async def observations(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Observation] | None:
        found = await _asked(self, info, ("Observation",), code, first, after)
        return page([_observation(r) for r in found.items], found.next) if found else None

    @strawberry.field(description="Diagnoses and problems. 诊断。")
    async def conditions(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(self, info, ("Condition",), code, first, after)

    @strawberry.field(description="Vaccinations. 预防接种。")
    async def immunizations(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(self, info, ("Immunization",), None, first, after)

    @strawberry.field(description="Prescriptions. 处方。")
    async def medications(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(self, info, ("MedicationRequest",), code, first, after)

    @strawberry.field(description="Procedures and operations. 手术与操作。")
    async def procedures(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(self, info, ("Procedure",), code, first, after)

    @strawberry.field(description="Reports. 检查报告。")
    async def reports(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(self, info, ("DiagnosticReport",), code, first, after)

    @strawberry.field(description="Allergies and intolerances. 过敏史。")
    async def allergies(
        self, info: Info[Any, Any], code: ByCode = None, first: First = 20, after: After = None
    ) -> Page[Entry] | None:
        return await _entries(self, info, ("AllergyIntolerance",), code, first, after)

    @strawberry.field(
        description="Who opened one's own record in an emergency; null in another's. 紧急查阅记录。"
    )
    async def emergency_accesses(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[OpenedRecord] | None:
        if self.patient is not None:
            return None
        client = await client_of(info, HealthClient)
        found = await client.emergency_accesses(first=first_of(first), after=after)
        return page([_opened(item) for item in found.items], found.next)

    @strawberry.field(
        description="Who says that they treat one; null in another's record. 登记为本人诊疗的机构。"
    )
    async def treatments(
        self, info: Info[Any, Any], first: First = 20, after: After = None
    ) -> Page[TreatmentClaim] | None:
        if self.patient is not None:
            return None
        client = await client_of(info, HealthClient)
        found = await client.treatment_claims(first=first_of(first), after=after)
        return page([TreatmentClaim(**dict(item)) for item in found.items], found.next)


@strawberry.type
class MeFields:
    @strawberry.field(description="The person's health record. 本人健康档案。")
    def health(self) -> HealthRecord | None:
        return HealthRecord()


@strawberry.type
class Query:
    @strawberry.field(
        description="A patient's record, for those who treat the person or broke the glass. 患者健康档案。"
    )
    def patient_record(self, patient: strawberry.ID) -> HealthRecord | None:
        return HealthRecord(patient=str(patient))

    @strawberry.field(
        description="Emergency accesses at one's own hospital and their reviews. 本机构紧急查阅及复核。"
    )
    async def access_reviews(
        self,
        info: Info[Any, Any],
        state: ReviewState | None = None,
        first: First = 20,
        after: After = None,
    ) -> Page[AccessReview] | None:
        client = await client_of(info, HealthClient)
        asked: shapes.ReviewState | None = state.value if state is not None else None
        found = await client.access_reviews(state=asked, first=first_of(first), after=after)
        return page([_review(item) for item in found.items], found.next)


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="Opens a patient's record in an emergency, for a time; the patient is told. 紧急查阅。"
    )
    async def break_glass(
        self, info: Info[Any, Any], patient: strawberry.ID, reason: str
    ) -> EmergencyAccess | None:
        asked = _checked(EmergencyRequest, patient=str(patient), reason=reason)
        found = await (await client_of(info, HealthClient)).open_record(asked)
        return EmergencyAccess(
            id=strawberry.ID(str(found.id)),
            patient=strawberry.ID(found.patient),
            reason=found.reason,
            begun_at=found.begun_at,
            ends_at=found.ends_at,
            review_due_at=found.review_due_at,
        )

    @strawberry.mutation(
        description="Says that an organisation does not treat one: it opens nothing. 就诊疗关系提出异议。"
    )
    async def object_to_treatment(
        self, info: Info[Any, Any], organisation: str, objects: bool = True
    ) -> bool | None:
        said = _checked(shapes.Objection, organisation=organisation).model_copy(update={"objects": objects})
        await (await client_of(info, HealthClient)).object_to_treatment(said)
        return True

    @strawberry.mutation(
        description="Says whether an emergency access was justified, with words; once. 紧急查阅复核结论。"
    )
    async def decide_access_review(
        self, info: Info[Any, Any], id: strawberry.ID, justified: bool, words: str
    ) -> AccessReview | None:
        decision = "justified" if justified else "unjustified"
        said = _checked(ReviewDecision, decision=decision, words=words)
        try:
            review = UUID(str(id))
        except ValueError as error:
            raise coded("BAD_USER_INPUT", "no such id / 编号无效") from error
        return _review(await (await client_of(info, HealthClient)).decide_review(review, said))


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


S = TypeVar("S", bound=shapes.Shape)


def _checked(shape: type[S], **given: str) -> S:
    """What is sent to the service; refused in words where it would be."""
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        words = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise coded("BAD_USER_INPUT", words) from error


def _opened(found: shapes.OpenedRecord) -> OpenedRecord:
    said = found.model_dump()
    return OpenedRecord(**said | {"id": strawberry.ID(str(found.id)), "state": ReviewState(found.state)})


def _review(found: shapes.AccessReview) -> AccessReview:
    said = found.model_dump()
    return AccessReview(**said | {"id": strawberry.ID(str(found.id)), "state": ReviewState(found.state)})


async def _asked(
    record: HealthRecord,
    info: Info[Any, Any],
    types: tuple[RecordType, ...],
    code: str | None,
    first: int,
    after: str | None,
) -> shapes.RecordPage | None:
    query = RecordQuery(types, code, first_of(first), after, record.patient)
    return await load(info, HealthClient, HealthClient.records, query)


async def _entries(
    record: HealthRecord,
    info: Info[Any, Any],
    types: tuple[RecordType, ...],
    code: str | None,
    first: int,
    after: str | None,
) -> Page[Entry] | None:
    found = await _asked(record, info, types, code, first, after)
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
