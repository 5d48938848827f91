"""Names as they are spread in China: few surnames, given names by sex and decade, and other customs."""

from dataclasses import dataclass

from city.dice import Dice, Weighted


def _words(text: str) -> list[str]:
    return text.split()


_SHARES = _words(
    "王:7.1 李:7.0 张:6.7 刘:5.1 陈:4.6 杨:3.1 黄:2.3 吴:2.1 赵:2.0 周:2.0 徐:1.7 孙:1.5 马:1.3 "
    "朱:1.3 胡:1.2 郭:1.15 何:1.1 林:1.1 高:1.0 罗:0.9 郑:0.9 梁:0.85 谢:0.75 宋:0.7 唐:0.7 许:0.7 "
    "韩:0.68 冯:0.64 邓:0.62 曹:0.6 彭:0.59 曾:0.58 肖:0.56 田:0.52 董:0.51 袁:0.5 潘:0.5 于:0.49 "
    "蒋:0.5 蔡:0.46 余:0.45 杜:0.45 叶:0.5 程:0.43 苏:0.42 魏:0.42 吕:0.41 丁:0.42 任:0.4 沈:0.6 "
    "姚:0.4 卢:0.37 姜:0.37 崔:0.36 钟:0.34 谭:0.33 陆:0.4 汪:0.35 范:0.34 金:0.4 石:0.29 廖:0.29 "
    "贾:0.28 夏:0.27 韦:0.26 付:0.26 方:0.3 白:0.25 邹:0.25 孟:0.24 熊:0.24 秦:0.24 邱:0.23 江:0.23 "
    "尹:0.22 薛:0.22 段:0.21 雷:0.21 侯:0.21 龙:0.21 史:0.2 陶:0.2 黎:0.2 贺:0.2 顾:0.22 毛:0.22 "
    "郝:0.2 龚:0.2 邵:0.22 万:0.2 钱:0.25 严:0.2 覃:0.19 武:0.18 戴:0.18 莫:0.17 孔:0.17 向:0.17 "
    "汤:0.17 俞:0.2 章:0.2 楼:0.1 欧阳:0.07 上官:0.02 诸葛:0.02 司马:0.01"
)
# The hundreds of rarer ones, by a few of them.
_RARER = _words(
    "施 洪 祝 倪 翁 骆 柳 殷 祁 葛 凌 阮 岳 柯 温 齐 庄 颜 梅 盛 童 季 辛 管 左 卓 屈 鲍 瞿 应 甘 穆 时 甄 "
    "焦 尤 连 喻 邬 谷 茅 宫 游 霍 芦 裘 池 詹 申 路 关 兰 牛 聂 单 涂 耿 车 安 鲁 代 靳 项 刁 申屠 皇甫"
)
_SURNAMES = Weighted(
    [(name, float(share)) for name, share in (pair.split(":") for pair in _SHARES)]
    + [(name, 0.25) for name in _RARER]
)

# Whole names that mark a generation, then single characters that are put together.
_WHOLE = {
    ("male", 0): _words("建国 志明 国强 德明 永福 金水 阿根 长富 有才 福生 德胜 水根 国平 伟民 树林"),
    ("female", 0): _words("秀英 桂英 玉兰 凤英 兰英 阿珍 桂芳 素珍 玉珍 秀兰 菊香 水仙 月娥 彩凤 小妹"),
    ("male", 1): _words("伟 强 军 勇 磊 建军 建平 志强 国华 海峰 晓东 卫东 永强 明 俊 刚"),
    ("female", 1): _words("丽 静 敏 芳 艳 娟 燕 霞 红 晓燕 海燕 丽娟 建英 小红 玲 萍"),
    ("male", 2): _words("杰 涛 超 鹏 浩 斌 宇 凯 晨 俊杰 志鹏 文杰 晓明 嘉伟 天宇"),
    ("female", 2): _words("婷 雪 倩 莹 佳 悦 丹 洁 婷婷 雨婷 晓雯 佳怡 思琪 梦瑶 雅琴"),
    ("male", 3): _words("浩宇 子轩 宇轩 浩然 梓睿 子墨 一诺 俊熙 沐宸 奕辰 宇航 皓轩 嘉懿 煜城 梓豪"),
    ("female", 3): _words("梓涵 欣怡 诗涵 子涵 雨桐 可馨 一诺 语桐 若汐 艺涵 沐瑶 依诺 梓萱 诗琪 佳琪"),
}
_SINGLE = {
    "male": "明国建文志海林德荣成光永伟波斌涛浩宇晨轩泽瑞嘉俊航鑫博睿天佳清思云启川",
    "female": "英兰珍芳秀玉梅琴丽娟敏静燕琳佳怡雪琪萱涵瑶悦欣婷雯诗语清思云宁月锦书",
}
_RARE = (
    "喆",
    "堃",
    "翀",
    "祎",
    "玥",
    "䶮",
    "㛃",
    "𬱖",
    "𬍛",
)  # two blocks beyond what old systems could store
_RARE_SHARE = 0.004

_UYGHUR = {
    "male": _words("买买提 吐尔逊 艾合买提 阿不都热合曼 玉素甫 库尔班 艾力 卡德尔 木沙江"),
    "female": _words("阿依古丽 古丽娜尔 帕提古丽 热依汗 阿依努尔 茹仙古丽 米热古丽 祖丽菲娅"),
}
_TIBETAN = {
    "male": _words("扎西次仁 多吉 尼玛扎西 格桑顿珠"),
    "female": _words("卓玛 央金拉姆 德吉 格桑卓玛"),
}
_MONGOL = {"male": _words("巴特尔 苏和 那顺 阿古拉"), "female": _words("其其格 娜仁花 萨仁 乌云")}

PEOPLES: Weighted[str] = Weighted(
    (
        ("汉族", 96.0),
        ("畲族", 0.9),
        ("土家族", 0.7),
        ("苗族", 0.6),
        ("回族", 0.6),
        ("维吾尔族", 0.6),
        ("藏族", 0.3),
        ("蒙古族", 0.3),
    )
)


@dataclass(frozen=True, slots=True)
class Name:
    family: str
    given: str
    text: str


def _generation(year: int) -> int:
    return (year >= 1962) + (year >= 1983) + (year >= 2003)


def surname(dice: Dice) -> str:
    return dice.draw(_SURNAMES)


def given_name(dice: Dice, sex: str, year: int) -> str:
    if dice.chance(_RARE_SHARE):
        return dice.pick(_RARE)
    if dice.chance(0.4):
        return dice.pick(_WHOLE[sex, _generation(year)])
    first = dice.pick(_SINGLE[sex])
    return first if dice.chance(0.12) else first + dice.pick(_SINGLE[sex])


def name_of(dice: Dice, sex: str, year: int, people: str, family: str, father_given: str | None) -> Name:
    """A Uyghur name is one's own followed by the father's; Tibetans and Mongols carry a single one."""
    if people == "维吾尔族":
        own, father = dice.pick(_UYGHUR[sex]), father_given or dice.pick(_UYGHUR["male"])
        return Name(father, own, f"{own}·{father}")
    if people in ("藏族", "蒙古族"):
        own = dice.pick((_TIBETAN if people == "藏族" else _MONGOL)[sex])
        return Name(own, own, own)
    given = given_name(dice, sex, year)
    return Name(family, given, family + given)
