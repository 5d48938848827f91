"""Cities of three sizes, each made once: a small one looked at row by row, a large one for its shares."""

from dataclasses import dataclass
from typing import Any

import pytest

from city.population import Population
from city.simulation import TODAY, City
from city.truth import Story, Truth, stories


@dataclass(frozen=True)
class Told:
    """A city with all its stories, and its truth."""

    city: City
    stories: list[Story]
    truth: dict[str, Any]

    def rows(self, kind: str) -> list[Any]:
        return [row for story in self.stories for row in getattr(story.social, kind)]


@pytest.fixture(scope="session")
def told() -> Told:
    city = City(people=1_000, seed=1)
    found = list(stories(city))
    truth = Truth(city)
    for story in found:
        truth.add(story)
    return Told(city, found, truth.document())


@pytest.fixture(scope="session")
def large() -> Population:
    """Only the people: their shares are those of chance, before anything was planted."""
    return Population(size=20_000, seed=1, today=TODAY)


@pytest.fixture(scope="session")
def middling() -> City:
    return City(people=6_000, seed=1)
