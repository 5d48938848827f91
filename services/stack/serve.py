"""Serving over the network: the front door with every service behind it, or one service by itself."""

import json
import os
import resource
import socket
from typing import Any

from services.stack.house import NAMES, local_urls, named
from services.stack.program import listen, port_of, tell_ready
from services.stack.terminal import Refusal, say

KEEP_ALIVE_S = 75
"""Longer than any client of ours keeps a connection, so that it is never closed under a request."""
GRACE_S = 10
FILES = 65_536


def serve_front(door: socket.socket) -> None:
    """The application process of embedded mode, on the supervisor's socket."""
    from services.stack.front import app

    _run(app(), door)


def serve_one(name: str) -> None:
    """One service by itself (separate mode), on its own port.

    Raises:
        Refusal: no such service, or something in the environment is missing.
    """
    try:
        service = named(name)
    except KeyError:
        raise Refusal(
            f"没有名为 {name} 的服务 · no service is called {name}: one of {', '.join(NAMES)}"
        ) from None
    base = _check_environment()
    host = os.environ.get("HUIMIN_HOST", "127.0.0.1")
    door = listen(host, service.port(base))
    say(f"惠民 Huimin: {name}  http://{host}:{service.port(base)}{service.prefix}")
    _run(service.app, door)


def serve_worker() -> None:
    """The job worker by itself (separate mode). Raises Refusal as `serve_one` does."""
    from services.stack.child import worker

    _check_environment()
    worker()


def _check_environment() -> int:
    """What every process that runs alone needs; the base of the ports."""
    os.environ["HUIMIN_MODE"] = "separate"
    base = port_of(os.environ.get("HUIMIN_PORT", "8000"))
    if not os.environ.get("HUIMIN_SERVICE_URLS") and not os.environ.get("HUIMIN_SERVICE_URL_TEMPLATE"):
        os.environ["HUIMIN_SERVICE_URLS"] = json.dumps(local_urls(base))
    for variable in ("HUIMIN_DATABASE_URL", "HUIMIN_REDIS_URL"):
        if not os.environ.get(variable):
            raise Refusal(
                f"缺少 {variable} · set {variable}: a service that runs alone brings no server along"
            )
    if not os.environ.get("HUIMIN_SECRET") and not os.environ.get("HUIMIN_SERVICE_SECRET"):
        raise Refusal("缺少密钥 · set HUIMIN_SERVICE_SECRET (from `./run env`), or HUIMIN_SECRET")
    return base


def _run(app: Any, door: socket.socket) -> None:
    import uvicorn

    # Many systems give a process 1,024 files to begin with: a thousand live streams use that up.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = FILES if most == resource.RLIM_INFINITY else min(most, FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                tell_ready()

    proxies = os.environ.get("HUIMIN_PROXY_IPS", "")  # whose X-Forwarded-For is believed
    config = uvicorn.Config(
        app,
        access_log=False,  # the kit counts and logs requests, without their queries
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        server_header=False,
        lifespan="on",
        ws="websockets-sansio",
    )
    server = Server(config)
    server.run(sockets=[door])
    if not server.started:
        raise SystemExit(3)
