"""How a fact that somebody has to acknowledge climbs: `rules/escalation.json`, by the beginning of its type.

minutes         of each level, when the next tier of those on duty is told; the last is for everybody of
                the rosters, on duty or not, and for the operators
again_minutes   how long after that it is looked again whether there is somebody new
urgent_from     the level that rings in quiet hours, too; whatever climbs does
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

Steps = tuple[timedelta, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of fact.

    Attributes:
        fact: what is acknowledged, as `transport.warning`; `id` names the item of the event's data.
        steps: of each level, from 1, the time after which each tier is told.
    """

    fact: str
    id: str
    levels: tuple[str, ...]
    urgent_from: int
    steps: tuple[Steps, ...]
    again: timedelta

    def fact_of(self, aggregate: str, data: Mapping[str, Any]) -> str:
        return f"{self.fact}/{data.get(self.id, aggregate)}"

    def level_of(self, word: object) -> int:
        """1 for the lowest; a word that is none of the levels counts as the highest, 'normal' as none."""
        if word == "normal":
            return 0
        return self.levels.index(word) + 1 if word in self.levels else len(self.levels)


@cache
def rules(pace: float) -> dict[str, Rule]:
    """By the beginning of the event's type.

    Args:
        pace: how many times as fast as the rules say.
    """
    found = orjson.loads(files("services.notify").joinpath("rules/escalation.json").read_bytes())
    return {start: _rule(row, pace) for start, row in found.items()}


def rule_of(type: str, pace: float = 1.0) -> Rule | None:
    return next((rule for start, rule in rules(pace).items() if type.startswith(start)), None)


def tiers() -> int:
    """How many tiers a roster may have: the last step is for everybody."""
    return max(len(steps) for rule in rules(1.0).values() for steps in rule.steps) - 1


def _rule(row: Mapping[str, Any], pace: float) -> Rule:
    levels: Sequence[str] = row["levels"]
    minute = timedelta(minutes=1) / pace
    return Rule(
        row["fact"],
        row["id"],
        tuple(levels),
        levels.index(row["urgent_from"]) + 1,
        tuple(tuple(minute * number for number in row["minutes"][level]) for level in levels),
        minute * row["again_minutes"],
    )


@dataclass(slots=True)
class Climb:
    """How far a fact is: the row of its escalation.

    Attributes:
        thing: aggregate of its events; a zone's warnings of one episode follow each other.
        event: CloudEvents form of the event that says it.
        since: when the first tier was, or could have been, told.
        step: how many steps of the ladder are done.
        told: how many people it was told.
        planned_at: when `next_at` was said.
        next_at: when the next step is due; None when there is none.
        unattended_at: when a step was due and nobody at all was there to tell.
        over_at: when the fact ended, or another level took its place.
    """

    fact: str
    thing: str
    event: dict[str, Any]
    area: str | None
    site: str | None
    level: int
    since: datetime
    step: int
    told: int
    planned_at: datetime
    next_at: datetime | None
    unattended_at: datetime | None = None
    acknowledged_at: datetime | None = None
    over_at: datetime | None = None

    @property
    def stopped(self) -> bool:
        return self.acknowledged_at is not None or self.over_at is not None

    def stop(self, *, acknowledged_at: datetime | None = None, over_at: datetime | None = None) -> None:
        """Acknowledged or over: nothing more comes, except that somebody hears that it was."""
        self.acknowledged_at = self.acknowledged_at or acknowledged_at
        self.over_at = self.over_at or over_at
        if self.step > 0:
            self.next_at = None


def advance(
    climb: Climb, at: datetime, rule: Rule, reach: Sequence[Collection[str]], told: Collection[str]
) -> tuple[Climb, dict[str, int]]:
    """The steps that are due, and whom they tell: by recipient, the tier.

    A step that reaches nobody new does not use up time: the next one is taken at once. So a fact is told
    to nobody only where there is nobody in any tier.

    Args:
        reach: of each step, who is there.
        told: who was told of this fact before.
    """
    steps = rule.steps[climb.level - 1]
    new: dict[str, int] = {}
    step = min(climb.step, len(steps) - 1)
    while step < len(steps) and (not new or (not climb.stopped and climb.since + steps[step] <= at)):
        for recipient in reach[step]:
            if recipient not in told:
                new.setdefault(recipient, step + 1)
        step += 1
    if climb.stopped:
        following = None
    elif step < len(steps):
        following = climb.since + steps[step]
    else:
        following = at + rule.again
    alone = not new and climb.told == 0
    return replace(
        climb,
        step=step,
        told=climb.told + len(new),
        planned_at=at,
        next_at=following,
        unattended_at=climb.unattended_at or (at if alone else None),
    ), new
