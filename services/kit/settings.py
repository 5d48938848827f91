"""Settings of a process, read once from the environment (`HUIMIN_*`) and passed in.

Everything secret is derived from one master secret, so that there is one thing to keep and one thing to
rotate. A service that runs alone gets only its own `HUIMIN_SERVICE_SECRET`, from which nothing of another
service can be derived; identity and the command line hold the master.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Mode = Literal["embedded", "separate"]
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def derive(secret: bytes, *labels: str) -> bytes:
    """A 32-byte key for the purpose the labels name (HMAC-SHA-256 used as a PRF, NIST SP 800-108)."""
    for label in labels:
        secret = hmac.digest(secret, label.encode(), hashlib.sha256)
    return secret


class Settings(BaseSettings):
    """One process's settings. Sizes and times carry their unit in the name."""

    model_config = SettingsConfigDict(env_prefix="HUIMIN_", extra="ignore", frozen=True)

    home: Path = Path(".huimin")
    mode: Mode = "embedded"
    host: str = "127.0.0.1"
    port: int = 8000
    """The front door; in separate mode the services take the ports after it (services/stack/house.py)."""
    public_url: str = ""
    """The one origin everybody sees; the issuer of tokens unless `issuer` says otherwise."""
    issuer: str = ""
    oidc_issuer: str | None = None
    """An outside OpenID Connect issuer that people sign in at, found by discovery."""
    oidc_client_id: str = "huimin"
    oidc_client_secret: SecretStr | None = None

    service_urls: dict[str, str] = {}
    """Where each service answers in separate mode; one that is missing here follows the template."""
    service_url_template: str = ""
    """For example `http://{service}:8000`, with the service's name as its host."""

    database_url: str = ""
    """Any role's URL; each service puts its own role and derived password into it."""
    redis_url: str = ""
    pool_max_connections: int = 8
    statement_timeout_ms: int = 30_000

    disk_path: Path | None = None
    """A folder on the database's disk, where that is this machine's."""
    disk_reserve_mb: int = Field(default=256, ge=0)
    """With less room than this, pushes are refused; reads and what was accepted go on."""
    backup: str = ""
    """Where backups go: a folder; `backup` in the home without it; `off` for none (services/stack)."""

    secret: SecretStr | None = None
    service_secret: SecretStr | None = None

    usage_report_days: int = Field(default=15, ge=0, le=60)
    """Working days within which an organisation answers a person who says that a usage looks wrong."""

    emergency_access_hours: float = Field(default=4.0, gt=0, le=72)
    """How long a health record that was opened in an emergency stays open."""
    emergency_review_hours: float = Field(default=72.0, gt=0, le=720)
    """Within which the privacy officer says whether it was justified."""

    bulk_retention_hours: float = Field(default=24.0, gt=0, le=720)
    """How long the files of a bulk export or import are kept."""

    escalation_pace: float = Field(default=1.0, gt=0, le=1000)
    """How many times as fast as its rules say an unacknowledged warning climbs; the demo's is quick."""

    webhook_allow: tuple[str, ...] = ()
    """Receivers of notifications that are no public addresses, or have no TLS: `host:port`, or networks."""
    smtp_url: SecretStr | None = None
    """`smtp://user:password@host:587` (STARTTLS) or `smtps://…:465`; without it nobody is told by e-mail."""
    mail_from: str = "huimin@localhost.localdomain"
    """Who the e-mails are from; and whom a push service may write to about ours."""

    no_auth: bool = False
    demo: bool = False
    log_level: str = "INFO"

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @model_validator(mode="before")
    @classmethod
    def _addresses(cls, values: dict[str, object]) -> dict[str, object]:
        url = values.get("public_url") or f"http://127.0.0.1:{values.get('port', 8000)}"
        url = str(url).rstrip("/")
        return {**values, "public_url": url, "issuer": str(values.get("issuer") or url).rstrip("/")}

    @model_validator(mode="after")
    def _no_auth_stays_at_home(self) -> "Settings":
        if self.no_auth and self.host not in LOOPBACK:
            raise ValueError(f"--no-auth serves on loopback only; HUIMIN_HOST is {self.host}")
        return self

    def address_of(self, service: str) -> str:
        """Base URL of a service in separate mode.

        Raises:
            RuntimeError: neither HUIMIN_SERVICE_URLS nor HUIMIN_SERVICE_URL_TEMPLATE names it.
        """
        address = self.service_urls.get(service) or self.service_url_template.format(service=service)
        if not address:
            raise RuntimeError(f"set HUIMIN_SERVICE_URLS: nothing says where {service} answers")
        return address.rstrip("/")

    def secret_for(self, service: str, what: str) -> bytes:
        """The 32 bytes that `service` uses for `what` ("postgres", "client", "seal", …).

        Raises:
            RuntimeError: neither HUIMIN_SERVICE_SECRET nor HUIMIN_SECRET is set.
        """
        return derive(self._root(service), what)

    def secret_of(self, service: str) -> str:
        """What a service that runs alone is given as its HUIMIN_SERVICE_SECRET."""
        return self._root(service).hex()

    def _root(self, service: str) -> bytes:
        if self.secret is not None:
            return derive(self.secret.get_secret_value().encode(), f"service:{service}")
        if self.service_secret is not None:
            return bytes.fromhex(self.service_secret.get_secret_value())
        raise RuntimeError("set HUIMIN_SECRET (the suite's) or HUIMIN_SERVICE_SECRET (one service's)")
