"""What a warning says to people, in Chinese and English."""

from typing import Literal, TypedDict

LEVELS_ZH = {"normal": "正常", "yellow": "黄色", "orange": "橙色", "red": "红色"}


class Text(TypedDict):
    zh: str
    en: str


Told = Literal["raised", "changed", "ended", "acknowledged"]


def warning_text(
    told: Told, *, zone_zh: str, zone_en: str, level: str, previous: str, people: int, capacity: int
) -> Text:
    """One line for a screen, a message or a loudspeaker."""
    colour = LEVELS_ZH[level]
    rises = list(LEVELS_ZH).index(level) > list(LEVELS_ZH).index(previous)
    head: dict[Told, Text] = {
        "raised": {"zh": f"{colour}预警", "en": f"{level.capitalize()} warning"},
        "changed": {
            "zh": f"预警{'升' if rises else '降'}为{colour}",
            "en": f"Warning {'raised' if rises else 'lowered'} to {level}",
        },
        "ended": {"zh": "预警解除", "en": "Warning ended"},
        "acknowledged": {
            "zh": f"{colour}预警已确认",
            "en": f"{level.capitalize()} warning acknowledged",
        },
    }
    share = f"{people / capacity:.1%}"
    return {
        "zh": f"{zone_zh}：{head[told]['zh']}，{people:,} 人，为瞬时承载量 {capacity:,} 人的 {share}",
        "en": f"{zone_en}: {head[told]['en']}, {people:,} people, {share} of its capacity of {capacity:,}",
    }
