"""What goes over the wire: receipts, records, findings, audit runs."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")

SCHEMES = frozenset(
    {
        "employee_pension",
        "resident_pension",
        "employee_medical",
        "resident_medical",
        "unemployment",
        "work_injury",
        "maternity",
        "minimum_living",
    }
)
BENEFITS = frozenset(
    {"pension", "unemployment_benefit", "minimum_living", "maternity_allowance", "injury_allowance"}
)


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class PageOf(Shape, Generic[T]):
    """A page of a list; `next` is the cursor to go on from, or nothing at its end."""

    items: list[T]
    next: str | None = None


Mode = Literal["atomic", "accept-valid"]
"""What becomes of a push in which a row is refused: nothing is taken, or all but that row."""


class FileReceipt(Shape):
    """What was taken of one file: rows_in = inserted + updated + unchanged + refused."""

    kind: str
    sha256: str
    rows_in: int
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0


class Receipt(Shape):
    """What was taken of a push.

    Attributes:
        sha256: of the file; of several, of their hashes in the order of the kinds.
        duplicate_of: the receipt of the same push sent before, which this one repeats.
    """

    receipt_id: UUID
    status: Literal["accepted", "accepted_in_part"]
    sha256: str
    mode: Mode
    received_at: datetime
    files: list[FileReceipt]
    duplicate_of: UUID | None = None


class RefusedRow(Shape):
    kind: str
    line: int
    faults: list[dict[str, Any]]


class Words(Shape):
    """A text in both languages."""

    zh: str
    en: str


FindingStatus = Literal["open", "vanished"]
"""Open while the data show it; vanished when a later run no longer found it. Neither decides anything."""


class EvidenceKey(Shape):
    """Which row shows it: its kind, who sent it, and its key there."""

    kind: str
    organisation: str
    key: str


class Finding(Shape):
    """What a rule found, on which rows, and against what.

    Attributes:
        subject: the person's id in this sector, for auditors; in a person's own record it is left out, for
            the gateway passes that on and may not hold a person's ids of two sectors.
        party_role: whose doing the rule is about; it presumes nobody's guilt.
        amount_at_risk: what the evidence puts in question, not what anyone owes.
    """

    finding_key: str
    rule: str
    rule_version: str
    form: str
    title: Words
    legal_basis: list[str]
    result: Literal["violation", "suspicion"]
    severity: Literal["low", "medium", "high"]
    status: FindingStatus
    subject: str | None
    party_role: str
    evidence: list[EvidenceKey]
    observed: dict[str, Any]
    allowed: Words
    explanation: Words
    amount_at_risk: Decimal
    currency: str
    areas: list[str]
    first_seen_at: datetime
    last_seen_at: datetime
    vanished_at: datetime | None = None


class RunRequest(Shape):
    """Which rules to run; none named means all."""

    rules: list[str] = []


class RuleOutcome(Shape):
    """What one rule came to in a run. One that could not look says why, and keeps its earlier findings."""

    rule: str
    version: str
    outcome: Literal["run", "not_run"]
    found: int | None = None
    new: int | None = None
    known: int | None = None
    back: int | None = None
    vanished: int | None = None
    seconds: float | None = None
    code: str | None = None
    reason: str | None = None


RunStatus = Literal["queued", "running", "finished", "superseded", "failed"]
"""A run is superseded when a later one's findings stood before it was done: it then changed nothing."""


class RunProgress(Shape):
    done: int
    of: int


class AuditRun(Shape):
    """One run: the data it read, the rules and engines it used, what each rule came to."""

    id: UUID
    job_id: UUID
    status: RunStatus
    progress: RunProgress
    rules: list[str]
    requested_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    as_of: datetime | None = None
    snapshot_sha256: str | None = None
    snapshot_files: list[dict[str, Any]] = []
    pack_sha256: str | None = None
    engines: dict[str, str] = {}
    outcomes: list[RuleOutcome] = []
    problem: str | None = None


class ContributionYear(Shape):
    """A year's contributions to one scheme: months paid for, the sum of the bases and of the amounts."""

    year: int
    scheme: str
    currency: str
    months: int
    base: Decimal
    amount: Decimal


class Payment(Shape):
    payment_id: str
    scheme: str
    benefit: str
    area: str
    period: str
    amount: Decimal
    currency: str
    paid_on: date


class ClaimLine(Shape):
    line_no: int
    item_code: str
    item_name: str | None
    service_date: date
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    currency: str


class Claim(Shape):
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


class Record(Shape):
    """A person's own record; parts that were not asked for are left out."""

    contributions: list[ContributionYear] | None = None
    payments: PageOf[Payment] | None = None
    claims: PageOf[Claim] | None = None
    findings: PageOf[Finding] | None = None
