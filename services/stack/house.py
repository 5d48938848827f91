"""The table of the house: every service, its app, port, schema, role and paths.

The one place that says so. The front door, the command line, docker-compose.yml, the reverse proxy and
docs/processes.md are made from it or held equal to it by tests/stack/test_house.py.
"""

from dataclasses import dataclass

WORKER_APP = "services.kit.jobs:celery"


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the suite.

    Attributes:
        app: where its ASGI app is, as `package.module:attribute`.
        offset: its port is HUIMIN_PORT plus this when it runs alone.
        prefixes: the paths it answers at the front door; its own (`/<prefix>/livez` …) comes first.
        stores: whether it has a schema and a role at the database.
        inner: schemas it keeps apart from its own, each under a login role of its own: that one may do all
            that the service's role may, and the service's role may not look into it.
    """

    name: str
    app: str
    offset: int
    prefixes: tuple[str, ...]
    stores: bool = True
    inner: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        return self.app.partition(":")[0].rpartition(".")[0]

    @property
    def prefix(self) -> str:
        return self.prefixes[0]

    @property
    def host(self) -> str:
        """Its name on a container network, where an underscore is not a valid host name."""
        return self.name.replace("_", "-")

    @property
    def schema(self) -> str | None:
        return self.name if self.stores else None

    @property
    def role(self) -> str | None:
        return f"huimin_{self.name}" if self.stores else None

    @property
    def schemas(self) -> tuple[str, ...]:
        return (self.name, *self.inner) if self.stores else ()

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(f"huimin_{schema}" for schema in self.schemas)

    def port(self, base: int) -> int:
        return base + self.offset


HOUSE: tuple[Service, ...] = (
    Service(
        "identity",
        "services.identity.app:app",
        11,
        ("/identity", "/oauth", "/.well-known"),
        inner=("vault",),
    ),
    Service("audit", "services.audit.app:app", 13, ("/audit",)),
    Service(
        "exchange",
        "services.exchange.app:app",
        12,
        ("/exchange", "/catalog.jsonld", "/v2", "/open-data"),
    ),
    Service("notify", "services.notify.app:app", 14, ("/notify",)),
    Service("health", "health.app:app", 21, ("/health", "/fhir")),
    Service("social_security", "social_security.app:app", 22, ("/social-security",)),
    Service(
        "education",
        "education.app:app",
        23,
        ("/education", "/ims", "/xAPI", "/credentials", "/oai", "/iiif"),
    ),
    Service("transport", "transport.app:app", 24, ("/transport",)),
    Service(
        "gateway",
        "gateway.app:app",
        10,
        ("/gateway", "/graphql", "/me", "/console", "/static", "/"),
        stores=False,
    ),
)
"""In the order they start: those that others ask come first."""

NAMES = tuple(service.name for service in HOUSE)
STORING = tuple(service for service in HOUSE if service.stores)


def named(name: str) -> Service:
    """The service of that name; `social-security` is understood as well as `social_security`.

    Raises:
        KeyError: there is none.
    """
    wanted = name.replace("-", "_")
    for service in HOUSE:
        if service.name == wanted:
            return service
    raise KeyError(name)


def chosen(names: str) -> tuple[Service, ...]:
    """The services of a list like `identity,health`, in the order of the house; all of them when it is empty.

    Raises:
        KeyError: one of the names is not a service's.
    """
    wanted = {named(name.strip()) for name in names.split(",") if name.strip()}
    return tuple(service for service in HOUSE if not wanted or service in wanted)


def owner(path: str) -> Service | None:
    """Who answers a path at the front door: the longest prefix, cut at a slash."""
    found: Service | None = None
    longest = -1
    for service in HOUSE:
        for prefix in service.prefixes:
            if len(prefix) > longest and covers(prefix, path):
                found, longest = service, len(prefix)
    return found


def covers(prefix: str, path: str) -> bool:
    return prefix == "/" or path == prefix or path.startswith(prefix + "/")


def local_urls(base: int, host: str = "127.0.0.1") -> dict[str, str]:
    """Where each service answers when all of them run apart on one machine."""
    return {service.name: f"http://{host}:{service.port(base)}" for service in HOUSE}


def container_urls(base: int = 8000) -> dict[str, str]:
    """Where each service answers on a container network that knows them by name."""
    return {service.name: f"http://{service.host}:{service.port(base)}" for service in HOUSE}
