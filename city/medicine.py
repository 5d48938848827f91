"""What a hospital writes down: diagnoses (ICD-10), measurements (LOINC, UCUM), drugs (ATC), procedures
(ICD-9-CM-3), vaccines (CVX) and the price list of services. Plausible, short, and the same in every record.
"""

from dataclasses import dataclass
from typing import Literal

ICD10 = "http://hl7.org/fhir/sid/icd-10"
ICD9 = "http://hl7.org/fhir/sid/icd-9-cm"
LOINC = "http://loinc.org"
ATC = "http://www.whocc.no/atc"
CVX = "http://hl7.org/fhir/sid/cvx"
UCUM = "http://unitsofmeasure.org"


@dataclass(frozen=True, slots=True)
class Illness:
    code: str
    text: str
    department: str
    visits: tuple[float, float, float, float, float]  # relative, at 0-5, 6-17, 18-44, 45-64, 65 and older
    inpatient: float = 0.0
    chronic: bool = False
    drugs: tuple[str, ...] = ()
    labs: tuple[str, ...] = ()
    procedure: str | None = None
    sex: Literal["male", "female"] | None = None


ILLNESSES: tuple[Illness, ...] = (
    Illness(
        "J06.9", "急性上呼吸道感染", "全科", (30, 18, 9, 6, 5), 0.0, drugs=("N02BE01",), labs=("6690-2",)
    ),
    Illness(
        "J20.9", "急性支气管炎", "内科", (9, 4, 3, 3, 4), 0.03, drugs=("J01CA04",), labs=("6690-2", "1988-5")
    ),
    Illness("J18.9", "肺炎", "内科", (4, 1, 0.6, 1.2, 4), 0.6, drugs=("J01DD04",), labs=("6690-2", "1988-5")),
    Illness(
        "A09", "感染性胃肠炎", "急诊科", (7, 3, 2.2, 1.5, 1.2), 0.04, drugs=("A07BC05",), labs=("6690-2",)
    ),
    Illness("L20.9", "特应性皮炎", "全科", (6, 2, 1, 0.7, 0.7), drugs=("R06AE07",)),
    Illness("J45.9", "支气管哮喘", "内科", (2, 1.8, 0.9, 0.9, 1.2), 0.06, True, ("R03AC02",)),
    Illness("H52.1", "近视", "眼科", (0.5, 9, 1.5, 0.3, 0.2)),
    Illness("K02.9", "龋齿", "口腔科", (2, 6, 3, 2.5, 2)),
    Illness(
        "S52.5", "桡骨远端骨折", "骨科", (0.7, 2, 1, 1, 1.6), 0.35, drugs=("M01AE01",), procedure="79.12"
    ),
    Illness("K29.7", "胃炎", "内科", (0, 0.8, 4, 4, 3), 0.02, drugs=("A02BC01",), labs=("718-7",)),
    Illness("M54.5", "下背痛", "骨科", (0, 0.2, 4, 5, 4), 0.02, drugs=("M01AE01",)),
    Illness("G47.0", "失眠", "内科", (0, 0.1, 1.5, 3, 3), drugs=("N05CF01",)),
    Illness(
        "K35.8", "急性阑尾炎", "外科", (0.1, 0.7, 0.8, 0.5, 0.4), 1.0, labs=("6690-2",), procedure="47.01"
    ),
    Illness("K80.2", "胆囊结石", "外科", (0, 0, 0.8, 1.5, 1.4), 0.6, labs=("1742-6",), procedure="51.23"),
    Illness("Z34.9", "正常妊娠监督", "妇产科", (0, 0, 3, 0, 0), labs=("718-7", "2339-0"), sex="female"),
    Illness("I10", "原发性高血压", "内科", (0, 0, 1.8, 11, 18), 0.01, True, ("C08CA01",), ("2160-0",)),
    Illness("E11.9", "2型糖尿病", "内科", (0, 0, 0.9, 6, 8), 0.03, True, ("A10BA02",), ("2339-0", "4548-4")),
    Illness("E78.5", "高脂血症", "内科", (0, 0, 1, 4, 4), 0.0, True, ("C10AA05",), ("2093-3", "2571-8")),
    Illness(
        "I25.1", "冠状动脉粥样硬化性心脏病", "内科", (0, 0, 0.1, 2, 6), 0.3, True, ("B01AC06",), ("2093-3",)
    ),
    Illness(
        "I63.9", "脑梗死", "内科", (0, 0, 0.05, 0.8, 2.6), 0.9, False, ("B01AC06",), ("2339-0", "2093-3")
    ),
    Illness("J44.9", "慢性阻塞性肺病", "内科", (0, 0, 0, 1, 3.5), 0.3, True, ("R03AC02",), ("6690-2",)),
    Illness("M17.9", "膝关节骨关节炎", "骨科", (0, 0, 0.2, 2.5, 5), 0.05, True, ("M01AE01",)),
    Illness("C34.9", "肺恶性肿瘤", "内科", (0, 0, 0.05, 0.3, 0.7), 0.9, True, labs=("718-7", "6690-2")),
    Illness("H25.9", "老年性白内障", "眼科", (0, 0, 0, 0.3, 1.6), 0.7, procedure="13.41"),
)
BIRTH = Illness(
    "O80.9", "单胎顺产", "妇产科", (0, 0, 0, 0, 0), 1.0, labs=("718-7",), procedure="73.59", sex="female"
)
CHECKUP = Illness(
    "Z00.0", "健康体检", "预防保健科", (0, 0, 0, 0, 0), labs=("718-7", "2339-0", "2093-3", "1742-6")
)


@dataclass(frozen=True, slots=True)
class Measure:
    text: str
    unit: str
    ucum: str
    mean: float
    spread: float
    low: float
    high: float
    digits: int


LABS: dict[str, Measure] = {
    "6690-2": Measure("白细胞计数", "10^9/L", "10*9/L", 7.2, 2.4, 2.0, 22.0, 1),
    "1988-5": Measure("C反应蛋白", "mg/L", "mg/L", 12.0, 10.0, 0.5, 120.0, 1),
    "718-7": Measure("血红蛋白", "g/L", "g/L", 134.0, 14.0, 70.0, 180.0, 0),
    "2339-0": Measure("葡萄糖", "mmol/L", "mmol/L", 5.9, 1.3, 3.1, 19.0, 1),
    "4548-4": Measure("糖化血红蛋白", "%", "%", 6.9, 1.1, 4.5, 13.0, 1),
    "2093-3": Measure("总胆固醇", "mmol/L", "mmol/L", 4.9, 0.9, 2.4, 9.0, 2),
    "2571-8": Measure("甘油三酯", "mmol/L", "mmol/L", 1.6, 0.7, 0.4, 8.0, 2),
    "2160-0": Measure("肌酐", "umol/L", "umol/L", 74.0, 16.0, 35.0, 260.0, 0),
    "1742-6": Measure("丙氨酸氨基转移酶", "U/L", "U/L", 24.0, 10.0, 5.0, 160.0, 0),
}
DRUGS: dict[str, tuple[str, str]] = {
    "N02BE01": ("对乙酰氨基酚片", "0.5g 每日三次"),
    "J01CA04": ("阿莫西林胶囊", "0.5g 每日三次"),
    "J01DD04": ("注射用头孢曲松钠", "2g 每日一次"),
    "A07BC05": ("蒙脱石散", "3g 每日三次"),
    "R06AE07": ("盐酸西替利嗪片", "10mg 每日一次"),
    "R03AC02": ("沙丁胺醇气雾剂", "必要时吸入"),
    "M01AE01": ("布洛芬缓释胶囊", "0.3g 每日两次"),
    "A02BC01": ("奥美拉唑肠溶胶囊", "20mg 每日一次"),
    "N05CF01": ("佐匹克隆片", "7.5mg 睡前"),
    "C08CA01": ("苯磺酸氨氯地平片", "5mg 每日一次"),
    "A10BA02": ("盐酸二甲双胍片", "0.5g 每日两次"),
    "C10AA05": ("阿托伐他汀钙片", "20mg 每晚一次"),
    "B01AC06": ("阿司匹林肠溶片", "100mg 每日一次"),
}
PROCEDURES: dict[str, str] = {
    "79.12": "桡骨骨折闭合复位术",
    "47.01": "腹腔镜下阑尾切除术",
    "51.23": "腹腔镜下胆囊切除术",
    "73.59": "手法助产",
    "13.41": "白内障超声乳化抽吸术",
}
# (CVX, name, days after birth): the national immunisation programme's first years.
CHILD_VACCINES: tuple[tuple[str, str, int], ...] = (
    ("19", "卡介苗", 1),
    ("08", "乙肝疫苗", 1),
    ("08", "乙肝疫苗", 32),
    ("10", "脊灰灭活疫苗", 62),
    ("20", "百白破疫苗", 93),
    ("08", "乙肝疫苗", 183),
    ("03", "麻腮风疫苗", 244),
    ("20", "百白破疫苗", 550),
    ("83", "甲肝疫苗", 552),
    ("03", "麻腮风疫苗", 556),
)
INFLUENZA = ("141", "流感疫苗")
PNEUMOCOCCAL = ("33", "23价肺炎球菌多糖疫苗")

# Services: code, name, price in fen. One price a service and a level of provider: hospital, clinic.
PRICES: dict[str, tuple[str, int, int]] = {
    "110200001": ("普通门诊诊查费", 1_500, 1_000),
    "110200002": ("急诊诊查费", 3_000, 1_500),
    "110900001": ("普通病房床位费（日）", 5_000, 3_000),
    "120100003": ("三级护理（日）", 2_200, 1_600),
    "250101015": ("血细胞分析", 2_000, 1_800),
    "250302001": ("葡萄糖测定", 600, 600),
    "250303001": ("血清总胆固醇测定", 700, 600),
    "250305007": ("丙氨酸氨基转移酶测定", 600, 600),
    "250307002": ("肌酐测定", 700, 600),
    "210102015": ("数字化摄影（胸部）", 7_000, 6_000),
    "310701001": ("常规心电图检查", 2_400, 2_000),
    "220301001": ("彩色多普勒超声常规检查", 11_000, 9_000),
    "331008003": ("阑尾切除术", 190_000, 190_000),
    "331202007": ("胆囊切除术", 280_000, 280_000),
    "331501001": ("骨折闭合复位术", 68_000, 68_000),
    "331400002": ("单胎顺产接生", 120_000, 120_000),
    "330406006": ("白内障超声乳化术", 210_000, 210_000),
}
LAB_SERVICES: dict[str, str] = {
    "6690-2": "250101015",
    "718-7": "250101015",
    "2339-0": "250302001",
    "4548-4": "250302001",
    "2093-3": "250303001",
    "2571-8": "250303001",
    "1742-6": "250305007",
    "2160-0": "250307002",
    "1988-5": "250101015",
}
PROCEDURE_SERVICES: dict[str, str] = {
    "79.12": "331501001",
    "47.01": "331008003",
    "51.23": "331202007",
    "73.59": "331400002",
    "13.41": "330406006",
}
DRUG_PRICES: dict[str, int] = {
    "N02BE01": 860, "J01CA04": 1_240, "J01DD04": 3_150, "A07BC05": 1_530, "R06AE07": 1_080, "R03AC02": 1_790,
    "M01AE01": 1_620, "A02BC01": 980, "N05CF01": 2_240, "C08CA01": 420, "A10BA02": 380, "C10AA05": 640,
    "B01AC06": 350,
}  # fmt: skip


def age_group(age: int) -> int:
    """Which of the five columns of `Illness.visits` holds for this age."""
    return (age >= 6) + (age >= 18) + (age >= 45) + (age >= 65)
