"""`me { socialSecurity { … } }` and `findings`, over the service's client."""

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import strawberry
from strawberry.scalars import JSON
from strawberry.types import Info

from services.kit.graphql import Page, client_of, first_of, load, page
from social_security import shapes
from social_security.client import Asked, Part, SocialSecurityClient


@strawberry.type(description="A text in both languages. 双语文本。")
class Bilingual:
    zh: str
    en: str


@strawberry.type(description="A year's contributions to one scheme. 一个险种一年的缴费。")
class ContributionYear:
    year: int
    scheme: str
    months: int
    base: Decimal
    amount: Decimal
    currency: str


@strawberry.type(description="A benefit paid. 一笔待遇支付。")
class BenefitPayment:
    payment_id: str
    scheme: str
    benefit: str
    area: str
    period: str
    amount: Decimal
    currency: str
    paid_on: date


@strawberry.type(description="One service on a claim. 结算明细。")
class ClaimLine:
    line_no: int
    item_code: str
    item_name: str | None
    service_date: date
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    currency: str


@strawberry.type(description="A medical claim. 医疗结算单。")
class InsuranceClaim:
    claim_id: str
    provider_uscc: str
    scheme: str
    area: str
    admitted_on: date | None
    discharged_on: date | None
    claimed_on: date
    diagnosis: str | None
    total: Decimal
    currency: str
    lines: list[ClaimLine]


@strawberry.enum(description="Whether the data still show it; neither decides anything. 是否仍见于数据。")
class FindingStatus(Enum):
    OPEN = "open"
    VANISHED = "vanished"


@strawberry.type(description="Which row shows it. 证据所在的记录。")
class EvidenceKey:
    kind: str
    organisation: str
    key: str


@strawberry.type(description="What a benefit audit rule found; a person decides. 稽核线索，须由人认定。")
class Finding:
    finding_key: strawberry.ID
    rule: str
    rule_version: str
    form: str
    title: Bilingual
    legal_basis: list[str]
    result: str
    severity: str
    status: FindingStatus
    subject: str | None
    party_role: str
    evidence: list[EvidenceKey]
    observed: JSON
    allowed: Bilingual
    explanation: Bilingual
    amount_at_risk: Decimal
    currency: str
    areas: list[str]
    first_seen_at: datetime
    last_seen_at: datetime
    vanished_at: datetime | None


def _plain(shape: Any, kind: type[Any], **other: Any) -> Any:
    """A GraphQL object from the wire shape of the same fields, but for those given."""
    names = (field.python_name for field in kind.__strawberry_definition__.fields)
    return kind(**{name: getattr(shape, name) for name in names if name not in other}, **other)


def _bilingual(words: shapes.Words) -> Bilingual:
    return Bilingual(zh=words.zh, en=words.en)


def _finding(found: shapes.Finding) -> Finding:
    finding: Finding = _plain(
        found,
        Finding,
        title=_bilingual(found.title),
        status=FindingStatus(found.status),
        evidence=[_plain(key, EvidenceKey) for key in found.evidence],
        allowed=_bilingual(found.allowed),
        explanation=_bilingual(found.explanation),
    )
    return finding


def _claim(claim: shapes.Claim) -> InsuranceClaim:
    lines = [_plain(line, ClaimLine) for line in claim.lines]
    found: InsuranceClaim = _plain(claim, InsuranceClaim, lines=lines)
    return found


async def _part(
    info: Info[Any, Any], part: Part, first: int = 20, after: str | None = None
) -> shapes.Record | None:
    asked = Asked(part, first_of(first), after)
    return await load(info, SocialSecurityClient, SocialSecurityClient.my_parts, asked)


@strawberry.type(description="The person's own social security record. 本人社会保障记录。")
class SocialSecurity:
    @strawberry.field(description="Contributions by year and scheme, newest first. 历年缴费。")
    async def contributions(self, info: Info[Any, Any]) -> list[ContributionYear] | None:
        record = await _part(info, "contributions")
        if record is None or record.contributions is None:
            return None
        return [_plain(year, ContributionYear) for year in record.contributions]

    @strawberry.field(description="Benefits paid, newest first. 待遇支付。")
    async def payments(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[BenefitPayment] | None:
        record = await _part(info, "payments", first, after)
        if record is None or record.payments is None:
            return None
        return page([_plain(one, BenefitPayment) for one in record.payments.items], record.payments.next)

    @strawberry.field(description="Medical claims with their lines, newest first. 医疗结算。")
    async def claims(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[InsuranceClaim] | None:
        record = await _part(info, "claims", first, after)
        if record is None or record.claims is None:
            return None
        return page([_claim(one) for one in record.claims.items], record.claims.next)

    @strawberry.field(description="Every audit flag on the person, newest first. 与本人有关的全部稽核线索。")
    async def findings(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[Finding] | None:
        record = await _part(info, "findings", first, after)
        if record is None or record.findings is None:
            return None
        return page([_finding(one) for one in record.findings.items], record.findings.next)


@strawberry.type
class MeFields:
    @strawberry.field(description="The person's own social security record. 社会保障。")
    async def social_security(self) -> SocialSecurity | None:
        return SocialSecurity()


@strawberry.type
class Query:
    @strawberry.field(
        description="Findings in the auditor's areas, largest amount first. 稽核线索（审计人员）。"
    )
    async def findings(
        self,
        info: Info[Any, Any],
        first: int = 20,
        after: str | None = None,
        rule: str | None = None,
        status: FindingStatus | None = None,
    ) -> Page[Finding] | None:
        client = await client_of(info, SocialSecurityClient)
        found = await client.findings(
            first=first_of(first), after=after, rule=rule, status=status.value if status else None
        )
        return page([_finding(one) for one in found.items], found.next)
