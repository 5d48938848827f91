"""Settings: derived addresses, derived secrets, and what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.kit.database import service_url
from services.kit.settings import Settings, derive


def test_the_issuer_follows_the_port_unless_it_is_said() -> None:
    assert Settings(port=9000).issuer == "http://127.0.0.1:9000"
    assert Settings(public_url="https://city.example/").issuer == "https://city.example"
    assert Settings(issuer="https://id.example").public_url == "http://127.0.0.1:8000"


def test_a_service_that_runs_alone_derives_the_same_from_its_own_secret() -> None:
    suite = Settings(secret="master")
    alone = Settings(secret=None, service_secret=suite.secret_of("health"))
    assert alone.secret_for("health", "postgres") == suite.secret_for("health", "postgres")
    assert suite.secret_for("health", "seal") != suite.secret_for("education", "seal")


def test_without_any_secret_it_says_what_to_set() -> None:
    with pytest.raises(RuntimeError, match="HUIMIN_SECRET"):
        Settings(secret=None, service_secret=None).secret_for("health", "seal")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", ""])
def test_no_auth_refuses_to_bind_anything_but_loopback(host: str) -> None:
    with pytest.raises(ValidationError, match="loopback only"):
        Settings(no_auth=True, host=host)


def test_a_service_connects_with_its_own_role_and_password() -> None:
    settings = Settings(
        secret="master", database_url="postgresql://admin:x@db.example:5433/huimin?sslmode=require"
    )
    url = service_url(settings, "transport")
    password = settings.secret_for("transport", "postgres").hex()
    assert url == f"postgresql://huimin_transport:{password}@db.example:5433/huimin?sslmode=require"


def test_derived_keys_depend_on_every_label() -> None:
    assert (
        len({derive(b"s", "a", "b"), derive(b"s", "b", "a"), derive(b"s", "ab"), derive(b"t", "a", "b")}) == 4
    )


def test_home_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(home=Path("here")).home == tmp_path / "here"
