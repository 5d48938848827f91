"""The house's table, docker-compose.yml, the reverse proxy and docs/processes.md say the same."""

import json
import re
from typing import Any

import pytest
import yaml

from services.kit.app import prefix_of
from services.kit.database import role_of
from services.stack import containers
from services.stack.home import ROOT
from services.stack.house import HOUSE, NAMES, STORING, container_urls, covers, named, owner

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_names_ports_and_prefixes_are_each_given_once() -> None:
    prefixes = [prefix for service in HOUSE for prefix in service.prefixes]
    assert len(set(NAMES)) == len(HOUSE)
    assert len({service.offset for service in HOUSE}) == len(HOUSE)
    assert len(set(prefixes)) == len(prefixes)


@pytest.mark.parametrize("service", HOUSE, ids=lambda service: service.name)
def test_a_service_agrees_with_the_kit(service: Any) -> None:
    assert service.prefix == prefix_of(service.name)
    assert service.role in (None, role_of(service.name))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "gateway"),
        ("/graphql", "gateway"),
        ("/me", "gateway"),
        ("/fhir", "health"),
        ("/fhir/Patient/1", "health"),
        ("/fhirs", "gateway"),
        ("/health/livez", "health"),
        ("/.well-known/jwks.json", "identity"),
        ("/social-security/imports", "social_security"),
        ("/ims/oneroster/rostering/v1p2/users", "education"),
        ("/xAPI/statements", "education"),
        ("/v2/findUsage", "exchange"),
        ("/catalog.jsonld", "exchange"),
        ("/transport/readings", "transport"),
        ("/notify/stream", "notify"),
        ("/audit/heads/latest", "audit"),
    ],
)
def test_the_longest_prefix_owns_a_path(path: str, name: str) -> None:
    found = owner(path)
    assert found is not None
    assert found.name == name


def test_a_prefix_ends_at_a_slash() -> None:
    assert covers("/fhir", "/fhir/x")
    assert not covers("/fhir", "/fhirx")


def test_compose_has_every_service_and_nothing_unknown() -> None:
    around = {"proxy", "worker", "migrate", "postgres", "valkey"}
    assert set(SERVICES) == {service.host for service in HOUSE} | around


@pytest.mark.parametrize("service", HOUSE, ids=lambda service: service.name)
def test_compose_runs_a_service_as_the_house_says(service: Any) -> None:
    found = SERVICES[service.host]
    port = service.port(containers.BASE)
    assert found["command"] == ["serve", service.name]
    assert found["expose"] == [str(port)]
    assert f"http://127.0.0.1:{port}{service.prefix}/livez" in found["healthcheck"]["test"][-1]
    assert found["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"proxy", "postgres", "valkey"}))
def test_compose_gives_the_master_secret_to_its_holders_alone(name: str) -> None:
    environment = SERVICES[name]["environment"]
    if name in containers.HOLDERS_OF_THE_MASTER:
        assert environment["HUIMIN_SECRET"].startswith("${HUIMIN_SECRET:?")
        assert "HUIMIN_SERVICE_SECRET" not in environment
    else:
        own = containers.secret_variable(named(name))
        assert environment["HUIMIN_SERVICE_SECRET"].startswith("${" + own + ":?")
        assert "HUIMIN_SECRET" not in environment


def test_compose_tells_everybody_where_everybody_is() -> None:
    for name in {service.host for service in HOUSE} | {"worker"}:
        assert json.loads(SERVICES[name]["environment"]["HUIMIN_SERVICE_URLS"]) == container_urls()


def test_only_the_migration_step_knows_the_database_administrators_password() -> None:
    knowing = {name for name, found in SERVICES.items() if "POSTGRES_PASSWORD" in json.dumps(found)}
    assert knowing == {"migrate", "postgres"}


def test_env_file_sets_every_variable_compose_insists_on() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    given = {line.partition("=")[0] for line in containers.env_lines("0" * 64)}
    assert wanted <= given


def test_env_file_gives_each_service_what_it_derives_from_the_master() -> None:
    from services.kit.settings import Settings

    lines = dict(line.split("=", 1) for line in containers.env_lines("a master"))
    master = Settings(secret="a master")
    alone = Settings(secret=None, service_secret=lines["HUIMIN_SECRET_HEALTH"])
    assert alone.secret_for("health", "postgres") == master.secret_for("health", "postgres")
    assert alone.secret_for("health", "postgres") != master.secret_for("audit", "postgres")


def test_proxy_file_is_the_one_made_from_the_house() -> None:
    assert containers.CADDYFILE.read_text() == containers.caddyfile()


@pytest.mark.parametrize("service", HOUSE, ids=lambda service: service.name)
def test_proxy_sends_each_prefix_to_its_service(service: Any) -> None:
    text = containers.CADDYFILE.read_text()
    for prefix in service.prefixes:
        if prefix != "/":
            both = rf"(?<!\S){re.escape(prefix)} {re.escape(prefix)}/\*"
            assert re.search(rf"@{service.name} path .*{both}", text)
    assert f"reverse_proxy {service.host}:{service.port(containers.BASE)}" in text


def test_docs_have_the_table_made_from_the_house() -> None:
    document = containers.PROCESSES.read_text()
    assert containers.with_table(document) == document
    for service in STORING:
        assert f"`{service.role}`" in document


def test_no_registry_is_named_in_deployment_files() -> None:
    for name in ("Dockerfile", "docker-compose.yml", "requirements.lock", "services/stack/installer.lock"):
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://(?!127\.0\.0\.1)[\w.-]+\.(org|com|io|cn|net)\b", text), name
