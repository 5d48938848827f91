"""Where people live and where their numbers were issued (GB/T 2260).

The prefecture is Hangzhou's: real codes, so that a code table can be checked against them; the people, the
organisations and the sights in it are invented. Codes changed over the years, and a citizen number keeps the
one it was issued under.
"""

from dataclasses import dataclass

PROVINCE = "330000"
PREFECTURE = "330100"
FIRST_NUMBERS = 1985  # citizen cards were issued from the mid eighties on: older people got the codes of then


@dataclass(frozen=True, slots=True)
class Area:
    code: str
    name: str
    name_en: str
    weight: float
    earlier: tuple[tuple[int, str], ...] = ()  # (code was in force before this year, code)
    rural: bool = False

    def code_in(self, year: int) -> str:
        for until, code in self.earlier:
            if year < until:
                return code
        return self.code


DISTRICTS: tuple[Area, ...] = (
    Area("330106", "西湖区", "Xihu", 11.2),
    Area("330109", "萧山区", "Xiaoshan", 20.1, ((1988, "330121"), (2001, "330181"))),
    Area("330102", "上城区", "Shangcheng", 13.2),
    Area("330122", "桐庐县", "Tonglu", 4.5, rural=True),
    Area("330105", "拱墅区", "Gongshu", 11.2),
    Area("330108", "滨江区", "Binjiang", 5.0, ((1996, "330106"),)),
    Area("330110", "余杭区", "Yuhang", 12.3, ((1994, "330125"), (2001, "330184"))),
    Area("330113", "临平区", "Linping", 11.8, ((1994, "330125"), (2001, "330184"), (2021, "330110"))),
    Area("330114", "钱塘区", "Qiantang", 7.7, ((2021, "330104"),)),
    Area("330111", "富阳区", "Fuyang", 8.3, ((1994, "330123"), (2014, "330183"))),
    Area("330112", "临安区", "Lin'an", 6.3, ((1996, "330124"), (2017, "330185")), rural=True),
    Area("330182", "建德市", "Jiande", 4.4, ((1992, "330126"),), rural=True),
    Area("330127", "淳安县", "Chun'an", 3.3, rural=True),
)
_SMALL_CITY = 4  # below this many districts a sample of a few thousand would leave schools of five pupils
_SMALL_UP_TO = 10_000

# Where those who moved in come from, with the people whose names follow another custom.
ELSEWHERE: tuple[tuple[str, float], ...] = (
    ("341221", 20),
    ("341226", 14),
    ("361128", 12),
    ("411681", 12),
    ("520502", 10),
    ("421182", 8),
    ("430525", 7),
    ("510922", 7),
    ("332522", 5),
    ("620522", 3),
    ("230184", 2),
)
UYGHUR_HOME = ("653101", "653201", "652901")
TIBETAN_HOME = ("540102", "540202", "632701")
MONGOL_HOME = ("150102", "152501", "150502")

_NAMES = {area.code: area.name for area in DISTRICTS}


def districts_for(people: int) -> tuple[Area, ...]:
    return DISTRICTS[:_SMALL_CITY] if people <= _SMALL_UP_TO else DISTRICTS


def area_name(code: str) -> str:
    return _NAMES[code]


def address(code: str) -> str:
    return f"浙江省杭州市{_NAMES[code]}"


def places() -> list[dict[str, str]]:
    """The prefecture's own part of GB/T 2260, for the population base registry."""
    rows = [
        {"code": PROVINCE, "name": "浙江省", "name_en": "Zhejiang"},
        {"code": PREFECTURE, "name": "杭州市", "name_en": "Hangzhou"},
    ]
    return rows + [{"code": area.code, "name": area.name, "name_en": area.name_en} for area in DISTRICTS]
