"""The organisations of the city: hospitals with clinics, schools, companies, offices, each with its code."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from city.areas import PREFECTURE, Area, districts_for
from city.dice import Dice, Weighted, digest
from city.numbers import uscc
from city.people import Stage

OrganisationKind = Literal["hospital", "clinic", "school", "company", "agency", "insurer", "registry", "site"]


@dataclass(frozen=True, slots=True)
class Organisation:
    code: str  # unified social credit code
    name: str
    name_en: str
    kind: OrganisationKind
    area: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Doctor:
    number: str
    name: str
    department: str
    provider: str  # organisation code


@dataclass(slots=True)
class Alliance:
    """A hospital and its community clinics (医联体): one sender, several providers."""

    client: str
    hospital: Organisation
    clinics: list[Organisation]
    areas: tuple[str, ...]
    doctors: dict[str, list[Doctor]] = field(default_factory=dict)  # by provider

    def providers(self) -> list[Organisation]:
        return [self.hospital, *self.clinics]


@dataclass(frozen=True, slots=True)
class School:
    organisation: Organisation
    stage: Stage


@dataclass(frozen=True, slots=True)
class SchoolGroup:
    """Schools of all stages under one roof (教育集团) that send one roster."""

    client: str
    organisation: Organisation
    areas: tuple[str, ...]
    schools: tuple[School, ...]


_CODES = {"company": "91", "hospital": "12", "clinic": "12", "school": "12", "site": "12"}
_TRADES = (
    ("数联科技", "Data Technology", "有限公司"),
    ("丝绸服饰", "Silk Apparel", "有限公司"),
    ("精密机械", "Precision Machinery", "有限公司"),
    ("建筑工程", "Construction", "有限公司"),
    ("物流", "Logistics", "有限公司"),
    ("餐饮管理", "Catering", "有限公司"),
    ("电子商务", "E-Commerce", "有限公司"),
    ("物业服务", "Property Services", "有限公司"),
    ("茶业", "Tea", "有限公司"),
    ("生物医药", "Biopharma", "股份有限公司"),
    ("汽车零部件", "Auto Parts", "有限公司"),
    ("人力资源", "Human Resources", "有限公司"),
)
_WORDS = (
    "启明 Qiming",
    "云栖 Yunqi",
    "钱江 Qianjiang",
    "海川 Haichuan",
    "瑞丰 Ruifeng",
    "恒远 Hengyuan",
    "嘉禾 Jiahe",
    "天目 Tianmu",
    "锦程 Jincheng",
    "东篱 Dongli",
    "安泰 Antai",
    "同济 Tongji",
    "新安 Xin'an",
    "百川 Baichuan",
    "星河 Xinghe",
    "金桂 Jingui",
)
DEPARTMENTS = ("全科", "内科", "外科", "儿科", "妇产科", "骨科", "眼科", "急诊科", "口腔科", "预防保健科")
_STAGES: tuple[tuple[Stage, str, str], ...] = (
    ("kindergarten", "幼儿园", "Kindergarten"),
    ("primary", "小学", "Primary School"),
    ("junior", "初级中学", "Junior High School"),
    ("senior", "高级中学", "Senior High School"),
)


class Institutions:
    """All organisations of a city of this size and seed. Nothing here depends on who lives in it."""

    def __init__(self, *, size: int, seed: int) -> None:
        self.seed = seed
        self._count = 0
        self.districts = districts_for(size)
        self.pension_office = self._new(
            "agency", "杭州市社会保险管理服务中心", "Hangzhou Social Insurance Centre"
        )
        self.medical_fund = self._new(
            "insurer", "杭州市医疗保障管理服务中心", "Hangzhou Medical Security Centre"
        )
        self.registry = self._new("registry", "杭州市公安局人口管理支队", "Hangzhou Population Register")
        self.site_bureau = self._new("site", "镜湖风景名胜区管理委员会", "Mirror Lake Scenic Area Committee")
        self.service_centres = {
            area.code: self._new(
                "agency", f"{area.name}便民服务中心", f"{area.name_en} Service Centre", area.code
            )
            for area in self.districts
        }
        self.alliances = [self._alliance(at, areas) for at, areas in enumerate(self._shares(size, 15_000))]
        self.school_groups = [self._group(at, areas) for at, areas in enumerate(self._shares(size, 5_000))]
        self.companies = [self._company(Dice(seed, "company", at)) for at in range(max(8, size // 40))]
        self.employers: list[Organisation] = [
            *self.companies,
            *(provider for alliance in self.alliances for provider in alliance.providers()),
            *(school.organisation for group in self.school_groups for school in group.schools),
        ]
        # Few large firms, many small ones.
        self.company_sizes = Weighted((at, 1.0 / (at + 3)) for at in range(len(self.companies)))
        self.health_commission = self._new("agency", "杭州市卫生健康委员会", "Hangzhou Health Commission")
        self.education_bureau = self._new("agency", "杭州市教育局", "Hangzhou Education Bureau")

    def all(self) -> Iterator[Organisation]:
        yield from (self.pension_office, self.medical_fund, self.registry, self.site_bureau)
        yield from (self.health_commission, self.education_bureau)
        yield from self.service_centres.values()
        for group in self.school_groups:
            yield group.organisation
        yield from self.employers

    def alliance_of(self, area: str) -> Alliance:
        return next(alliance for alliance in self.alliances if area in alliance.areas)

    def group_of(self, area: str) -> int:
        return next(at for at, group in enumerate(self.school_groups) if area in group.areas)

    def _shares(self, size: int, per_share: int) -> list[list[Area]]:
        """The districts dealt out to one sender for so many people, but at least two."""
        count = min(len(self.districts), max(2, size // per_share))
        return [list(self.districts[first::count]) for first in range(count)]

    def _new(
        self,
        kind: OrganisationKind,
        name: str,
        name_en: str,
        area: str = PREFECTURE,
        parent: str | None = None,
    ) -> Organisation:
        self._count += 1
        body = int.from_bytes(digest(self.seed, "organisation", self._count)) % 90_000_000 + 10_000_000
        return Organisation(uscc(_CODES.get(kind, "11"), area, body), name, name_en, kind, area, parent)

    def _alliance(self, at: int, areas: list[Area]) -> Alliance:
        seat = areas[0]
        hospital = self._new(
            "hospital", f"{seat.name}人民医院", f"{seat.name_en} People's Hospital", seat.code
        )
        clinics = [
            self._new(
                "clinic",
                f"{area.name}{which}社区卫生服务中心",
                f"{area.name_en} {which_en} Health Centre",
                area.code,
                hospital.code,
            )
            for area in areas
            for which, which_en in (("城南", "South"), ("城北", "North"))
        ]
        return Alliance(f"hospital-{at + 1}", hospital, clinics, tuple(area.code for area in areas))

    def _group(self, at: int, areas: list[Area]) -> SchoolGroup:
        seat = areas[0]
        group = self._new(
            "school", f"{seat.name}学府教育集团", f"{seat.name_en} Xuefu Education Group", seat.code
        )
        schools = []
        for stage, word, word_en in _STAGES:
            for number, area in enumerate(areas, start=1):
                name, name_en = f"{area.name}学府{word}", f"{area.name_en} Xuefu {word_en}"
                if stage in ("kindergarten", "senior") and number > 1:
                    continue
                schools.append(School(self._new("school", name, name_en, area.code, group.code), stage))
        return SchoolGroup(
            f"school-group-{at + 1}", group, tuple(area.code for area in areas), tuple(schools)
        )

    def _company(self, dice: Dice) -> Organisation:
        area = dice.pick(self.districts)
        word, word_en = dice.pick(_WORDS).split(" ", 1)
        trade, trade_en, form = dice.pick(_TRADES)
        return self._new("company", f"杭州{word}{trade}{form}", f"{word_en} {trade_en} Co., Ltd.", area.code)
