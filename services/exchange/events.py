"""What the exchange publishes: of persons' consents and reports, never whose they are."""

from datetime import datetime

from services.kit.events.declared import Data, Declared


class Agreement(Data):
    """A step of an agreement.

    Attributes:
        due_at: by when its request was to be decided.
        reason: what its dataset lacks, where that ended it.
    """

    agreement: str
    dataset: str
    provider: str
    consumer: str
    due_at: datetime | None = None
    reason: str | None = None


class Consent(Data):
    consent: str
    organisation: str
    purpose: str


class UsageReport(Data):
    report: str
    organisation: str | None
    due_at: datetime


class Export(Data):
    export: str
    dataset: str | None = None
    due_at: datetime | None = None


class OpenData(Data):
    product: str
    version: int


def _steps(of: str, data: type[Data], steps: dict[str, str], about: tuple[str, str]) -> tuple[Declared, ...]:
    en, zh = about
    return tuple(
        Declared(f"exchange.{of}.{step}", data, f"{en} was {step}. {zh}{words}。")
        for step, words in steps.items()
    )


EVENTS = (
    *_steps(
        "agreement",
        Agreement,
        {
            "requested": "已申请",
            "active": "已生效",
            "refused": "未获批准",
            "suspended": "已中止",
            "ended": "已终止",
        },
        ("An agreement", "共享协议"),
    ),
    Declared("exchange.agreement.overdue", Agreement, "Nobody decided in time. 共享协议逾期未决。"),
    *_steps("consent", Consent, {"given": "已授予", "revoked": "已撤回"}, ("A consent", "同意")),
    *_steps(
        "usage_report",
        UsageReport,
        {"opened": "已提出", "answered": "已答复", "closed": "已结束"},
        ("A report of a usage", "使用异议"),
    ),
    Declared("exchange.usage_report.overdue", UsageReport, "Nobody answered in time. 使用异议逾期未答。"),
    *_steps(
        "export",
        Export,
        {
            "approved": "已批准",
            "refused": "未获批准",
            "exported": "已生成",
            "withheld": "未予提供",
            "ended": "已终止",
        },
        ("A sealed export", "封装数据"),
    ),
    Declared("exchange.export.overdue", Export, "Nobody decided in time. 封装数据申请逾期未决。"),
    *_steps(
        "open_data",
        OpenData,
        {"published": "已发布", "withdrawn": "已撤下"},
        ("A release of open data", "开放数据"),
    ),
)
