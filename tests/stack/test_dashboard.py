"""Metrics, their table and the dashboard say the same; names keep Prometheus' rules; no label is a person."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from services.stack.home import ROOT
from services.stack.house import NAMES
from tests.support.suite import Suite

DASHBOARD = ROOT / "docs" / "grafana" / "huimin.json"
TABLE = ROOT / "docs" / "operations-metrics.md"
# https://prometheus.io/docs/practices/naming/ as `promtool check metrics` has it.
NO_BASE_UNIT = re.compile(r"(milli|micro|nano)?(minutes?|hours?|days?|ms|kb|mb|kilobytes|megabytes)$")
TYPE_IN_NAME = re.compile(r"_(gauge|counter|histogram|summary)(_|$)")
OF_A_HISTOGRAM = re.compile(r"_(bucket|count|sum)$")
NOT_LOW = re.compile(r"[0-9a-f]{8}-|h\d_[A-Z2-7]{26}|\d{15}|/\d+(/|$)|\{?http", re.I)


@pytest.fixture(scope="module")
def metrics(suite: Suite) -> dict[str, Metric]:
    end = time.monotonic() + 60.0
    while True:
        text = httpx.get(f"{suite.base_url}/identity/metrics", timeout=60.0).text
        told = set(re.findall(r'^huimin_ready\{.*service="(\w+)"', text, re.M))
        if told == set(NAMES) or time.monotonic() > end:
            break
        time.sleep(0.5)
    found = {one.name: one for one in text_string_to_metric_families(text) if one.name.startswith("huimin_")}
    return {
        name + ("_total" if one.type == "counter" else ""): one
        for name, one in found.items()
        if not name.endswith("_created")
    }


def table() -> dict[str, tuple[str, frozenset[str]]]:
    rows = re.findall(r"^\| `(huimin_\w+)` \| (\w+) \| ([\w, ]+) \|", TABLE.read_text(), re.M)
    return {name: (kind, frozenset(labels.split(", "))) for name, kind, labels in rows}


def expressions() -> Iterator[str]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in board["templating"]["list"]:
        yield variable["query"]


def queried() -> set[str]:
    names = {name for expression in expressions() for name in re.findall(r"\bhuimin_\w+", expression)}
    return {OF_A_HISTOGRAM.sub("", name) for name in names}


def test_the_table_names_what_a_running_suite_tells(metrics: dict[str, Metric]) -> None:
    assert table().keys() == metrics.keys()
    assert {name: kind for name, (kind, _) in table().items()} == {
        name: one.type for name, one in metrics.items()
    }


def test_the_dashboard_asks_for_all_of_it_and_nothing_else() -> None:
    assert queried() == table().keys()


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= 24 - place["w"], panel["title"]
        for target in panel.get("targets", ()):
            assert target["datasource"] == panel["datasource"], panel["title"]
    for expression in expressions():
        assert all(expression.count(a) == expression.count(b) for a, b in ("()", "{}", "[]")), expression
    assert "http" not in DASHBOARD.read_text()


def test_labels_in_the_dashboard_are_those_of_the_metric() -> None:
    for expression in expressions():
        [name] = {OF_A_HISTOGRAM.sub("", one) for one in re.findall(r"\bhuimin_\w+", expression)} or {""}
        if name:
            asked = {
                label
                for group in re.findall(r"\bby \(([\w, ]+)\)", expression)
                for label in group.split(", ")
            } | set(re.findall(r'(\w+)(?:=~|!=|=)"', expression))
            assert asked - {"le"} <= table()[name][1], expression


def test_names_keep_the_rules(metrics: dict[str, Metric]) -> None:
    for name, one in metrics.items():
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name), name
        assert name.endswith("_total") == (one.type == "counter"), name
        assert not TYPE_IN_NAME.search(name), name
        assert not NO_BASE_UNIT.search(name.removesuffix("_last_day")), name
        assert one.documentation.strip(), name


def test_labels_are_few_and_no_person(metrics: dict[str, Metric]) -> None:
    for name, one in metrics.items():
        _, labels = table()[name]
        for sample in one.samples:
            if not sample.name.endswith("_created"):
                assert sample.labels.keys() - {"le"} == labels, sample
            assert not any(NOT_LOW.search(value) for key, value in sample.labels.items() if key != "route"), (
                sample
            )


def test_every_service_tells_of_itself(suite: Suite, metrics: dict[str, Metric]) -> None:
    told = {sample.labels["service"] for sample in metrics["huimin_ready"].samples}
    assert told == set(NAMES)
    assert {sample.labels["disk"] for sample in metrics["huimin_disk_free_bytes"].samples} >= {
        "home",
        "database",
    }
