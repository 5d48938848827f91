"""Logs without persons, traces that hold together, metrics without ids."""

import logging
import sys
from collections.abc import Iterator
from typing import Any

import asyncpg
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit import telemetry
from services.kit.telemetry import JsonFormatter

NUMBER = "11010519491231002X"
OLD_NUMBER = "130503670401001"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def logged(message: str, *args: object, error: BaseException | None = None, **extra: Any) -> dict[str, Any]:
    record = logging.getLogger("huimin.test").makeRecord(
        "huimin.test", logging.WARNING, __file__, 1, message, args,
        (type(error), error, error.__traceback__) if error else None, extra=extra,
    )  # fmt: skip
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found = orjson.loads(line)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("number", [NUMBER, NUMBER.lower(), OLD_NUMBER, "330106201502290013"])
@pytest.mark.parametrize("around", ["{}", "a{}b", "人{}员", "\n{}\n", "id={};x", '"{}"', "-{}-"])
def test_a_citizen_number_is_masked_wherever_it_stands(number: str, around: str) -> None:
    text = around.format(number)
    try:
        raise LookupError(text)
    except LookupError as error:
        found = logged("about %s", text, error=error, deep={"list": [text, {text: text}]}, bare=text)
    assert number not in orjson.dumps(found).decode()
    assert found["message"] == f"about {around.format('[citizen-number]')}"
    assert found["deep"]["list"][0] == around.format("[citizen-number]")
    assert "[citizen-number]" in found["exception"]


def test_a_citizen_number_sent_as_a_whole_number_is_masked() -> None:
    assert logged("x", n=110105194912310021)["n"] == "[citizen-number]"


@pytest.mark.parametrize("number", ["1234", "1795425495123456", "110105194913310021", "1" * 18, "20261123"])
def test_other_numbers_stay(number: str) -> None:
    assert logged(f"at {number}")["message"] == f"at {number}"


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (NUMBER, True),
        (f"x{NUMBER}y", True),
        (NUMBER[:-1] + "1", False),
        (OLD_NUMBER, False),
        ("1" + NUMBER, False),
    ],
)
def test_the_check_character_tells_a_citizen_number_from_another(text: str, holds: bool) -> None:
    assert telemetry.holds_citizen_number(text) is holds


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.floats()))
def test_any_text_makes_one_line_of_json(text: str, extra: dict[str, Any]) -> None:
    clean = text.encode("utf-8", "ignore").decode()
    assert logged("%s", clean, more=extra)["level"] == "warning"


def test_the_row_that_a_database_error_repeats_is_left_out() -> None:
    error = asyncpg.CheckViolationError("new row violates check constraint")
    error.detail = "Failing row contains (7, 张三,\nline two of a field)."
    try:
        try:
            raise error
        except asyncpg.PostgresError as cause:
            raise RuntimeError("not kept") from cause
    except RuntimeError as last:
        line = logged("failed", error=last)
    assert "张三" not in str(line)
    assert "line two" not in str(line)
    assert "new row violates check constraint" in line["exception"]
    assert "RuntimeError: not kept" in line["exception"]


def test_half_a_character_and_a_huge_number_are_logged_too() -> None:
    found = logged("%s", "\ud83d", n=2**70)
    assert (found["message"], found["n"]) == ("\\ud83d", str(2**70))


def test_what_cannot_be_serialised_is_said_as_text() -> None:
    class Odd:
        def __repr__(self) -> str:
            return f"<odd {NUMBER}>"

    assert logged("x", odd=Odd())["odd"] == "<odd [citizen-number]>"


def test_a_request_takes_up_the_callers_trace_and_id() -> None:
    with telemetry.incoming({"traceparent": TRACE, "x-request-id": "abcd-1234"}, "GET x") as request:
        assert request == telemetry.request_id() == "abcd-1234"
        assert telemetry.trace_id() == TRACE[3:35]
        outgoing = telemetry.outgoing_headers()
        assert outgoing["x-request-id"] == "abcd-1234"
        assert outgoing["traceparent"][:36] == TRACE[:36]
        assert outgoing["traceparent"] != TRACE, "a span of its own"
        found = logged("x")
        assert (found["trace_id"], found["request_id"]) == (TRACE[3:35], "abcd-1234")
    assert telemetry.outgoing_headers() == {}


@pytest.mark.parametrize(
    "sent", ["", "short", "x" * 65, "with space", "new\nline-1", f"req-{NUMBER}", "中文中文中文中文"]
)
def test_a_request_id_that_is_not_fit_for_a_log_is_replaced(sent: str) -> None:
    with telemetry.incoming({"x-request-id": sent}, "GET x") as request:
        assert request != sent
        assert len(request) == 24


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "nonsense",
        TRACE.replace("00-4", "01-4", 1),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        TRACE.upper(),
    ],
)
def test_a_trace_that_is_none_begins_anew(sent: str) -> None:
    with telemetry.incoming({"traceparent": sent}, "GET x"):
        assert telemetry.trace_id() not in {None, TRACE[3:35], "0" * 32}


def test_spans_nest_and_end() -> None:
    with telemetry.span("outer"):
        outer = telemetry.traceparent()
        assert outer is not None
        with telemetry.span("inner"):
            inner = telemetry.traceparent()
            assert inner is not None
            assert inner[:36] == outer[:36]
            assert inner != outer
        assert telemetry.traceparent() == outer
        with telemetry.span("of an event", parent=TRACE):
            assert telemetry.trace_id() == TRACE[3:35]
    assert telemetry.traceparent() is None


def test_nothing_of_opentelemetry_is_loaded_unless_it_is_asked_for() -> None:
    import subprocess

    code = (
        "import sys; from services.kit import telemetry\n"
        "with telemetry.span('x'): pass\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    environment = {"PATH": "", "PYTHONPATH": "."}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    """An OTLP collector that keeps what it is sent."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    received: list[tuple[str, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    telemetry._tracer.cache_clear()
    yield received
    telemetry._tracer.cache_clear()
    server.shutdown()


def test_spans_are_exported_where_a_collector_is_named(collector: list[tuple[str, bytes]]) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with telemetry.incoming({"traceparent": TRACE}, "GET transport"), telemetry.span("inner", zone=3):
        inner = telemetry.traceparent()
    tracer = telemetry._tracer()
    assert tracer is not None
    tracer.flush()
    [(path, body)] = collector
    assert path == "/v1/traces"
    sent = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    by_name = {span.name: span for span in sent}
    assert by_name["GET transport"].parent_span_id.hex() == TRACE[36:52]
    assert by_name["inner"].parent_span_id == by_name["GET transport"].span_id
    assert {span.trace_id.hex() for span in sent} == {TRACE[3:35]}
    assert inner == f"00-{TRACE[3:35]}-{by_name['inner'].span_id.hex()}-01"


def test_metrics_name_routes_and_never_paths() -> None:
    telemetry.request_done("transport", "GET", "/transport/zones/{id}", 200, 0.012)
    text = bytes(telemetry.metrics_response().body).decode()
    assert (
        'huimin_request_seconds_count{method="GET",route="/transport/zones/{id}",service="transport",status="200"}'
        in text
    )
