"""`me`: who read my data, what I say looks wrong, what I consented to."""

from datetime import datetime
from typing import Any

import strawberry
from pydantic import ValidationError
from strawberry.scalars import JSON
from strawberry.types import Info

from services.exchange import person_shapes as shapes
from services.exchange.client import ExchangeClient
from services.kit.graphql import Page, client_of, coded, context_of, first_of, page


async def _client(info: Info[Any, Any]) -> ExchangeClient:
    """For somebody signed in: what is here is of persons, though the catalogue beside it is open."""
    if context_of(info).principal.kind == "anonymous":
        raise coded("UNAUTHENTICATED", "sign in first / 请先登录", traceId=context_of(info).trace_id)
    return await client_of(info, ExchangeClient)


@strawberry.type(description="Where the access log proves a usage: /audit/proofs/inclusion. 访问日志凭证。")
class UsageProof:
    leaf_index: int
    href: str


@strawberry.type(description="One access to the person's data. 一次数据使用。")
class DataUsage:
    at: datetime
    service: str
    action: str
    action_zh: str
    action_en: str
    organisation: str
    organisation_zh: str
    organisation_en: str
    system: str
    reason: str | None
    reason_zh: str
    reason_en: str
    purpose: str | None
    purpose_zh: str | None
    purpose_en: str | None
    legal_basis: str | None
    outcome: str
    records: int
    agreement: str | None
    proof: UsageProof

    @classmethod
    def of(cls, shape: shapes.Usage) -> "DataUsage":
        said = shape.model_dump(
            include={
                *("at", "service", "action", "organisation", "system", "reason", "purpose", "legal_basis"),
                *("outcome", "records", "agreement"),
            }
        )
        said |= _words("action", shape.action_words) | _words("organisation", shape.organisation_words)
        said |= _words("reason", shape.reason_words) | _words("purpose", shape.purpose_words)
        href = f"/audit/proofs/inclusion?index={shape.leaf_index}"
        return cls(**said, proof=UsageProof(leaf_index=shape.leaf_index, href=href))


def _words(name: str, words: shapes.Bilingual | None) -> dict[str, str | None]:
    return {f"{name}_zh": words.zh if words else None, f"{name}_en": words.en if words else None}


@strawberry.type(description="What a person said looks wrong, and the answer. 对一次数据使用的异议。")
class UsageReport:
    id: strawberry.ID
    usage: DataUsage
    words: str
    state: str
    opened_at: datetime
    due_at: datetime
    due_by_weekdays: bool
    overdue: bool
    legal_basis: str
    answer: str | None
    answered_at: datetime | None
    closed_at: datetime | None

    @classmethod
    def of(cls, shape: shapes.Report) -> "UsageReport":
        said = {name: getattr(shape, name) for name in shapes.Report.model_fields}
        return cls(**said | {"id": strawberry.ID(str(shape.id)), "usage": DataUsage.of(shape.usage)})


@strawberry.type(description="What the person lets an organisation do, for one purpose. 本人的同意。")
class DataConsent:
    id: strawberry.ID
    organisation: str
    organisation_zh: str
    organisation_en: str
    purpose: str
    purpose_zh: str
    purpose_en: str
    actions: list[str]
    datasets: list[str]
    given_at: datetime
    by_guardian: bool
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None
    in_force: bool

    @classmethod
    def of(cls, shape: shapes.Consent) -> "DataConsent":
        said: dict[str, Any] = shape.model_dump(exclude={"id", "organisation_words", "purpose_words"})
        said |= _words("organisation", shape.organisation_words) | _words("purpose", shape.purpose_words)
        return cls(id=strawberry.ID(str(shape.id)), **said)


@strawberry.type(
    description="A child the person stands for, by the code its lists are asked for with. 被监护人。"
)
class RepresentedPerson:
    code: str
    name: str | None
    birth_date: str | None
    until: str


@strawberry.input(description="To whom, what for, which actions or datasets, until when. 同意的内容。")
class ConsentInput:
    organisation: str
    purpose: str
    valid_until: datetime
    actions: list[str] = strawberry.field(default_factory=list)
    datasets: list[str] = strawberry.field(default_factory=list)
    valid_from: datetime | None = None
    language: str = "zh"
    ward: str | None = None


@strawberry.type
class MeFields:
    @strawberry.field(
        description="Who had to do with my data, newest first; own: false leaves out my own reading; "
        "ward: a child's, by its code. 谁使用了我的数据。"
    )
    async def data_usage(
        self,
        info: Info[Any, Any],
        first: int = 20,
        after: str | None = None,
        own: bool = True,
        ward: str | None = None,
    ) -> Page[DataUsage] | None:
        client = await _client(info)
        found = await client.my_usages(ward=ward, own=own, after=after, limit=first_of(first))
        return page([DataUsage.of(one) for one in found.items], found.next)

    @strawberry.field(
        description="How many usages a recorded legal right keeps out of the list. 依法不列示的使用次数。"
    )
    async def hidden_usages(self, info: Info[Any, Any], ward: str | None = None) -> int | None:
        found = await (await _client(info)).my_usages(ward=ward, limit=1)
        return found.hidden

    @strawberry.field(description="What I said looks wrong, newest first. 我提出的异议。")
    async def usage_reports(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None, ward: str | None = None
    ) -> Page[UsageReport] | None:
        client = await _client(info)
        found = await client.my_reports(ward=ward, after=after, limit=first_of(first))
        return page([UsageReport.of(one) for one in found.items], found.next)

    @strawberry.field(description="What I consented to, newest first. 我的同意。")
    async def consents(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None, ward: str | None = None
    ) -> Page[DataConsent] | None:
        client = await _client(info)
        found = await client.my_consents(ward=ward, after=after, limit=first_of(first))
        return page([DataConsent.of(one) for one in found.items], found.next)

    @strawberry.field(description="The children I stand for. 我监护的未成年人。")
    async def represented_persons(self, info: Info[Any, Any]) -> list[RepresentedPerson] | None:
        found = await (await _client(info)).my_wards()
        return [RepresentedPerson(**ward.model_dump()) for ward in found.items]


@strawberry.type
class PersonQuery:
    @strawberry.field(
        description="Reports about usages by one's own organisation, newest first. 待答复的异议（工作人员）。"
    )
    async def usage_reports(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None, state: str | None = None
    ) -> Page[UsageReport] | None:
        client = await _client(info)
        which = _checked(shapes.ReportsAsked, state=state).state
        found = await client.reports_to_answer(state=which, after=after, limit=first_of(first))
        return page([UsageReport.of(one) for one in found.items], found.next)

    @strawberry.field(
        description="A consent's receipt: ISO/IEC TS 27560 in W3C DPV terms, JSON-LD. 同意凭据。"
    )
    async def consent_receipt(self, info: Info[Any, Any], id: strawberry.ID) -> JSON | None:
        return JSON(await (await _client(info)).consent_receipt(_id(id)))


@strawberry.type
class PersonMutation:
    @strawberry.mutation(description="This usage of my data looks wrong. 对一次数据使用提出异议。")
    async def report_usage(
        self, info: Info[Any, Any], leaf_index: int, words: str, ward: str | None = None
    ) -> UsageReport | None:
        client = await _client(info)
        asked = _checked(shapes.ReportRequest, leaf_index=leaf_index, words=words, ward=ward)
        return UsageReport.of(await client.report_usage(asked))

    @strawberry.mutation(description="Answers a report for one's organisation. 答复异议。")
    async def answer_usage_report(
        self, info: Info[Any, Any], id: strawberry.ID, words: str
    ) -> UsageReport | None:
        client = await _client(info)
        said = _checked(shapes.Answer, words=words)
        return UsageReport.of(await client.answer_report(_id(id), said.words))

    @strawberry.mutation(description="The answer is enough; ends the report. 结束异议。")
    async def close_usage_report(self, info: Info[Any, Any], id: strawberry.ID) -> UsageReport | None:
        client = await _client(info)
        return UsageReport.of(await client.close_report(_id(id)))

    @strawberry.mutation(description="Lets an organisation do something for one purpose. 作出同意。")
    async def give_consent(self, info: Info[Any, Any], input: ConsentInput) -> DataConsent | None:
        client = await _client(info)
        asked = _checked(shapes.ConsentRequest, **vars(input))
        return DataConsent.of(await client.give_consent(asked))

    @strawberry.mutation(description="Ends a consent at once. 撤回同意。")
    async def revoke_consent(self, info: Info[Any, Any], id: strawberry.ID) -> DataConsent | None:
        client = await _client(info)
        return DataConsent.of(await client.revoke_consent(_id(id)))


def _id(id: strawberry.ID) -> Any:
    return _checked(shapes.Id, id=id).id


def _checked(kind: type[Any], **said: Any) -> Any:
    """What was said as its wire type.

    Raises:
        GraphQLError: BAD_USER_INPUT, naming the field.
    """
    try:
        return kind(**said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise coded("BAD_USER_INPUT", f"{where}: {first['msg']}", field=where) from error
