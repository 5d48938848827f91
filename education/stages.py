"""ISCED 2011 levels of school grades: where in an education system a grade stands.

Chinese stages: 学前 0, 小学 1, 初中 2, 高中/中职 3, 专科 5, 本科 6, 硕士 7, 博士 8.
"""

from collections.abc import Mapping

STAGE_OF_GRADE: Mapping[str, str] = {
    **dict.fromkeys(("IT", "PR", "PK", "TK", "KG"), "0"),
    **{f"{grade:02d}": "1" for grade in range(1, 7)},
    **{f"{grade:02d}": "2" for grade in range(7, 10)},
    **{f"{grade:02d}": "3" for grade in range(10, 13)},
    "13": "4",
    "AS": "5",
    **dict.fromkeys(("BA", "UG", "PB"), "6"),
    **dict.fromkeys(("MD", "PM"), "7"),
    **dict.fromkeys(("DO", "PD"), "8"),
}
