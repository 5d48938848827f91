"""What a service says about itself: JSON logs without personal data, traces, request ids, metrics.

A trace context (W3C `traceparent`) goes with every call, event and job, whether or not anybody collects
spans. They are exported only where OTEL_EXPORTER_OTLP_ENDPOINT says where to; nothing of OpenTelemetry is
imported otherwise.
"""

import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response

from services.kit.check_characters import citizen_check_digit

if TYPE_CHECKING:
    from services.kit.settings import Settings

# 公民身份号码 (GB 11643): area, birth date, sequence, check character; the old 15-digit form has no century.
_CITIZEN_NUMBER = re.compile(
    r"(?<!\d)\d{6}(?:"
    r"(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]"
    r"|\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}"
    r")(?!\d)"
)
_MASKED = "[citizen-number]"
_SECTOR_ID = re.compile(r"\bh\d+_[A-Z2-7]{26}\b")
# PostgreSQL's DETAIL repeats rows and keys: names, birth dates, whatever stood there.
_DETAIL = re.compile(r"^([\s|]*)DETAIL:  .*?(?=^[\s|]*HINT:|\n\n|\Z)", re.MULTILINE | re.DOTALL)
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[\w.:-]{8,64}", re.ASCII)

_traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

requests_seconds = Histogram(
    "huimin_request_seconds",
    "Time from a request's first byte to its answer's last",
    ["service", "method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10, 60),
)
outbox_waiting = Gauge("huimin_outbox_waiting", "Events committed and not yet on the stream", ["service"])
outbox_oldest_seconds = Gauge("huimin_outbox_oldest_seconds", "Age of the oldest of them", ["service"])
events_sent = Counter("huimin_events_sent", "Events put on the stream", ["service"])
events_behind = Gauge(
    "huimin_events_behind", "Events a reader of the log has not told to have taken in", ["service", "reader"]
)
events_applied = Counter("huimin_events_applied", "Events whose effect is committed", ["service", "source"])
events_fetched = Counter(
    "huimin_events_fetched", "Events fetched from their source because the stream had lost them", ["service"]
)
dead_letters = Gauge("huimin_dead_letters", "Events that wait for a person", ["service"])
parked_events = Gauge("huimin_parked_events", "Events that failed and will be tried again", ["service"])
facts_unattended = Counter(
    "huimin_facts_unattended", "Facts to be acknowledged that met nobody on duty", ["service"]
)
jobs_by_state = Gauge("huimin_jobs", "Jobs by state", ["service", "state"])
deliveries = Counter(
    "huimin_deliveries", "Attempts to tell somebody outside, by what came of them", ["channel", "outcome"]
)
delivery_seconds = Histogram(
    "huimin_delivery_seconds",
    "Time from a fact's being raised to its delivery",
    ["channel"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
leaves_waiting = Gauge("huimin_leaves_waiting", "Access leaves of reads not yet committed", ["service"])
leaves_written = Counter("huimin_leaves_written", "Access leaves committed", ["service"])


def configure(service: str, settings: "Settings") -> None:
    """Logs of this process go to stderr as JSON lines; safe to call for every service of the process."""
    root = logging.getLogger()
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True
    for name in ("httpx", "httpcore", "uvicorn.access", "alembic"):  # they put URLs, or much, into each line
        logging.getLogger(name).setLevel(logging.WARNING)
    logger(service).debug("configured")


def logger(service: str) -> logging.Logger:
    return logging.getLogger(f"huimin.{service}")


def mask(text: str) -> str:
    """The text without citizen numbers, and without the rows that an error of the database repeats."""
    if "DETAIL:  " in text:
        text = _DETAIL.sub(r"\1DETAIL:  [left out]\n", text).rstrip("\n")
    return _CITIZEN_NUMBER.sub(_MASKED, text)


def without_people(text: str) -> str:
    """`mask`, and without sector ids: for those who run the suite and need to know nobody in it."""
    return _SECTOR_ID.sub("[sector-id]", mask(text))


def place_of(error: Exception) -> str:
    """What happened and where, without the error's words: they may repeat what was sent."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return f"{type(error).__name__} at {' '.join(f'{Path(f.filename).name}:{f.lineno}' for f in frames)}"


def holds_citizen_number(text: str) -> bool:
    """Whether an 18-character citizen number with a right check character stands in the text."""
    numbers = (found[0].upper() for found in _CITIZEN_NUMBER.finditer(text) if len(found[0]) == 18)
    return any(citizen_check_digit(number[:17]) == number[17] for number in numbers)


_FRAMES = 6
"""So many calls say where something unforeseen happened."""
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; citizen numbers are masked in messages, extras and tracebacks alike."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("huimin."),
            "message": record.getMessage(),
        }
        if (traceparent := _traceparent.get()) is not None:
            line["trace_id"] = traceparent[3:35]
        if (request := _request_id.get()) is not None:
            line["request_id"] = request
        line.update((name, value) for name, value in vars(record).items() if name not in _OWN_FIELDS)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(_masked(line), option=orjson.OPT_NON_STR_KEYS).decode()


def _masked(value: Any) -> Any:
    """The value without citizen numbers, as something JSON can hold."""
    match value:
        case None | bool():
            return value
        case str():
            return mask(value.encode("utf-8", "backslashreplace").decode())
        case int() | float():
            plain = value if isinstance(value, float) or abs(value) < 2**63 else str(value)
            return _MASKED if _CITIZEN_NUMBER.fullmatch(str(value)) else plain
        case Mapping():
            return {_masked(key): _masked(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked(item) for item in value]
        case _:
            return _masked(str(value))


# --- traces ------------------------------------------------------------------------------------------


def traceparent() -> str | None:
    """The current W3C trace context, to be stored with an event or a job."""
    return _traceparent.get()


def trace_id() -> str | None:
    current = _traceparent.get()
    return current[3:35] if current else None


def request_id() -> str | None:
    return _request_id.get()


def outgoing_headers() -> dict[str, str]:
    """What a call to another service carries, so that both sides' logs and spans belong together."""
    headers = {}
    if (trace := _traceparent.get()) is not None:
        headers["traceparent"] = trace
    if (request := _request_id.get()) is not None:
        headers["x-request-id"] = request
    return headers


@contextmanager
def incoming(headers: Mapping[str, str], name: str) -> Iterator[str]:
    """The scope of one request: its id (the caller's, if it sent a usable one), its span.

    Yields:
        The request id, to be sent back as X-Request-Id.
    """
    sent = headers.get("x-request-id", "")
    # A request id ends up in logs: what a caller puts there must not smuggle a person in.
    usable = _REQUEST_ID.fullmatch(sent) and not _CITIZEN_NUMBER.search(sent)
    request = sent if usable else os.urandom(12).hex()
    token = _request_id.set(request)
    try:
        with span(name, parent=headers.get("traceparent"), kind="server"):
            yield request
    finally:
        _request_id.reset(token)


@contextmanager
def span(
    name: str, *, parent: str | None = None, kind: str = "internal", **attributes: str | int
) -> Iterator[None]:
    """A span under `parent` (a traceparent), under the current one, or the first of a new trace."""
    above = parent if parent and _TRACEPARENT.fullmatch(parent) else _traceparent.get()
    tracer = _tracer()
    if tracer is None:
        token = _traceparent.set(_child_of(above))
        try:
            yield
        finally:
            _traceparent.reset(token)
        return
    with tracer.span(name, above, kind, attributes) as current:
        token = _traceparent.set(current)
        try:
            yield
        finally:
            _traceparent.reset(token)


def _child_of(above: str | None) -> str:
    trace, flags = (above[3:35], above[53:55]) if above else (os.urandom(16).hex(), "01")
    return f"00-{trace}-{os.urandom(8).hex()}-{flags}"


class _Tracer:
    """OpenTelemetry behind the one thing we need of it: a span from and to a traceparent."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        name = os.environ.get("OTEL_SERVICE_NAME", "huimin")
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = provider.get_tracer("huimin")
        self.flush = provider.force_flush

    @contextmanager
    def span(
        self, name: str, above: str | None, kind: str, attributes: Mapping[str, str | int]
    ) -> Iterator[str]:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({"traceparent": above} if above else {})
        with self._tracer.start_as_current_span(
            name, context=context, kind=SpanKind[kind.upper()], attributes=dict(attributes)
        ) as current:
            ids = current.get_span_context()
            yield f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{int(ids.trace_flags):02x}"


@cache
def _tracer() -> _Tracer | None:
    return _Tracer() if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") else None


# --- metrics -----------------------------------------------------------------------------------------


def request_done(service: str, method: str, route: str, status: int, seconds: float) -> None:
    """Counts one answered request.

    Args:
        route: the path's template (`/transport/zones/{id}`), never the path: ids are no labels.
    """
    requests_seconds.labels(service, method, route, str(status)).observe(seconds)


def metrics_response() -> Response:
    """The process's metrics in Prometheus' text form."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
