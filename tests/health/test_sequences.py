"""Any sequence of interactions against a model in memory: what is there, what was, what refers to what."""

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.health.support import observation, patient, transaction

IDS = ("a", "b")
LOCALS = [f"{kind}/{id}" for kind in ("Patient", "Observation") for id in IDS]


@dataclass(frozen=True)
class Action:
    """A request: of a PUT the whole resource, of a PATCH its code alone."""

    method: str
    local: str
    code: str
    subject: str | None
    if_match: int | None

    @property
    def kind(self) -> str:
        return self.local.partition("/")[0]

    @property
    def target(self) -> str | None:
        return f"Patient/{self.subject}" if self.subject and self.kind == "Observation" else None

    def asked(self, prefix: str) -> dict[str, Any]:
        """The arguments of `client.request`; ids begin with the prefix."""
        id = prefix + self.local.partition("/")[2]
        found: dict[str, Any] = {"method": self.method, "url": f"/fhir/{self.kind}/{id}", "headers": {}}
        if self.if_match is not None:
            found["headers"]["if-match"] = f'W/"{self.if_match}"'
        if self.method == "PUT" and self.kind == "Patient":
            found["json"] = patient(id=id, birthDate=f"200{self.code}")
        elif self.method == "PUT":
            subject = f"Patient/{prefix}{self.subject}" if self.subject else None
            found["json"] = observation(subject, self.code, id=id)
        elif self.method == "PATCH":
            path, value = ("/birthDate", f"200{self.code}")
            if self.kind == "Observation":
                path, value = "/code/coding/0/code", self.code
            found["json"] = [{"op": "replace", "path": path, "value": value}]
            found["headers"]["content-type"] = "application/json-patch+json"
        return found


ACTIONS = st.builds(
    Action,
    st.sampled_from(["PUT", "PUT", "PATCH", "DELETE"]),
    st.sampled_from(LOCALS),
    st.sampled_from("12"),
    st.sampled_from([None, *IDS]),
    st.sampled_from([None, None, None, 1, 2]),
)


@dataclass
class Model:
    """What there is: of each resource its versions as method, code and what it refers to."""

    versions: dict[str, list[tuple[str, str, str | None]]] = field(default_factory=dict)

    def current(self, local: str) -> tuple[str, str, str | None] | None:
        versions = self.versions.get(local)
        return versions[-1] if versions and versions[-1][0] != "DELETE" else None

    def status(self, action: Action) -> int:
        """Does it, and says what the answer must be."""
        versions, current = self.versions.get(action.local, []), self.current(action.local)
        target = action.target
        if action.method == "PATCH" and current is None:
            return 410 if versions else 404
        if action.method == "PUT" and target is not None and self.current(target) is None:
            return 422
        if action.if_match is not None and (current is None or action.if_match != len(versions)):
            return 412
        if action.method == "DELETE":
            return self._deleted(action.local)
        if action.method == "PATCH":
            assert current is not None
            target = current[2]
        if current is None or current[1:] != (action.code, target):
            self.versions.setdefault(action.local, []).append((action.method, action.code, target))
        return 201 if current is None else 200

    def _deleted(self, local: str) -> int:
        if self.current(local) is None:
            return 204
        if any(found is not None and found[2] == local for found in map(self.current, self.versions)):
            return 409
        self.versions[local].append(("DELETE", "", None))
        return 204


async def _compare(fhir: httpx.AsyncClient, model: Model, prefix: str) -> None:
    for local, versions in model.versions.items():
        url = f"/fhir/{local.replace('/', '/' + prefix)}"
        answer = await fhir.get(url)
        assert answer.status_code == (410 if model.current(local) is None else 200)
        assert answer.headers["etag"] == f'W/"{len(versions)}"'
        history = (await fhir.get(f"{url}/_history")).json()["entry"]
        assert [entry["request"]["method"] for entry in history] == [one[0] for one in reversed(versions)]
    for id in IDS:
        found = (await fhir.get(f"/fhir/Observation?subject=Patient/{prefix}{id}")).json().get("entry", ())
        assert {entry["resource"]["id"].removeprefix(prefix) for entry in found} == {
            local.partition("/")[2]
            for local in model.versions
            if (model.current(local) or ("", "", None))[2] == f"Patient/{id}"
        }


@pytest.mark.parametrize("number", [12, pytest.param(200, marks=pytest.mark.long)])
async def test_a_sequence_comes_to_what_the_model_says(fhir: httpx.AsyncClient, number: int) -> None:
    sequences: list[list[Action]] = []

    @settings(max_examples=number, deadline=None, database=None, derandomize=True)
    @given(st.lists(ACTIONS, min_size=8, max_size=20))
    def collect(actions: list[Action]) -> None:
        sequences.append(actions)

    collect()
    seen: set[int] = set()
    for n, actions in enumerate(sequences):
        model, prefix = Model(), f"r{n}-"
        for action in actions:
            answer = await fhir.request(**action.asked(prefix))
            assert answer.status_code == model.status(action), (actions, action, answer.text)
            seen.add(answer.status_code)
        await _compare(fhir, model, prefix)
        # What refers to each other goes together.
        away = [local.replace("/", "/" + prefix) for local in model.versions]
        entries = [{"request": {"method": "DELETE", "url": url}} for url in away]
        assert (await fhir.post("/fhir", json=transaction(*entries))).status_code == 200
        for url in away:
            assert (await fhir.get(f"/fhir/{url}")).status_code == 410
    assert seen >= {200, 201, 204, 404, 409, 410, 412, 422}
