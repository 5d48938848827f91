"""The catalogue as 政务信息资源目录, its entries with the core metadata of 国发〔2016〕51号 and GB/T 21063.3.

The names are the standard's own. A 信息资源代码 is the class (类 1 digit, 项 2, 目 3), a slash, and a number.
"""

from collections.abc import Sequence
from typing import Any

from services.exchange.shapes import Dataset, Item

SHARING = {"unconditional": "无条件共享", "conditional": "有条件共享", "none": "不予共享"}
CYCLES = {"realtime": "实时", "daily": "每日", "weekly": "每周", "monthly": "每月", "yearly": "每年"}
TYPES = {
    "string": "字符型",
    "date": "日期型",
    "datetime": "日期时间型",
    "integer": "整数型",
    "decimal": "数值型",
    "boolean": "布尔型",
}


def directory(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """The whole directory as one JSON document."""
    codes = {dataset.id: dataset.code for dataset in datasets}
    return {
        "目录名称": "惠民政务信息资源目录",
        "编制依据": ["国发〔2016〕51号", "GB/T 21063.3-2007"],
        "信息资源": [_entry(dataset, codes) for dataset in datasets],
    }


def _entry(dataset: Dataset, codes: dict[str, str]) -> dict[str, Any]:
    digits = dataset.code.partition("/")[0]
    return {
        "信息资源分类": {"类": digits[:1], "项": digits[1:3], "目": digits[3:6], "细目": digits[6:]},
        "信息资源名称": dataset.title_zh,
        "信息资源代码": dataset.code,
        "信息资源提供方": dataset.department.name_zh,
        "信息资源提供方代码": dataset.department.organisation,
        "信息资源摘要": dataset.summary_zh,
        "信息资源格式": {"格式分类": "结构化数据", "格式类型": "JSON"},
        "信息项信息": [_item(item) for item in dataset.items],
        "共享属性": _sharing(dataset),
        "开放属性": {"是否向社会开放": "否", "开放条件": ""},
        "更新周期": CYCLES[dataset.update_cycle],
        "发布日期": dataset.first_seen.date().isoformat(),
        "关联资源代码": [codes[id] for id in dataset.related if id in codes],
    }


def _item(item: Item) -> dict[str, str]:
    return {"信息项名称": item.title_zh, "数据类型": TYPES.get(item.type, item.type)}


def _sharing(dataset: Dataset) -> dict[str, str]:
    found = {
        "共享类型": SHARING[dataset.sharing],
        "共享条件": dataset.sharing_condition_zh,
        "共享方式": "" if dataset.sharing == "none" else "共享平台方式（接口）",
    }
    if dataset.sharing == "none":
        found["不予共享依据"] = dataset.legal_basis or ""
    return found
