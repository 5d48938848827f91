"""`./run demo` as a person meets it, with a small city."""

import re
import signal
import time
from pathlib import Path

import pytest

from services.stack.demo.asking import words_of
from services.stack.demo.checks import CheckTable
from services.stack.terminal import Refusal
from tests.support.suite import all_of, none_left, start_suite, stop_suite

SMALL = "60"


def test_check_holds_and_leaves_nothing_running(public_folder: Path) -> None:
    suite = start_suite(public_folder, "demo", "--check", "--people", SMALL)
    try:
        code = suite.process.wait(280)
        printed = suite.output.read_text()
        assert [line for line in printed.splitlines() if "✗" in line] == []
        assert code == 0, printed
        assert "全部成立 · all held" in printed
        assert "Traceback" not in printed
        assert suite.home.running() is None
    finally:
        stop_suite(suite)


@pytest.mark.long
def test_the_demo_shows_where_to_look_a_query_with_its_answer_and_warnings(public_folder: Path) -> None:
    suite = start_suite(public_folder, "demo", "--people", SMALL, "--speed", "3000")
    try:
        printed = wait_for(suite.output, r"the city is filled", 200)
        assert f"{suite.base_url}/\n" in printed
        assert "query Me" in printed
        assert re.search(r'"name": "\S+"', printed)
        assert "password: huimin-demo" in printed
        assert "✗" not in printed
        printed = wait_for(suite.output, r"⚠ (YELLOW|ORANGE|RED) +RAISED", 60)
        pids = all_of(suite)
        suite.process.send_signal(signal.SIGINT)
        assert suite.process.wait(60) == 0
        assert none_left(pids)
        assert "Traceback" not in suite.output.read_text()
    finally:
        stop_suite(suite)


def wait_for(output: Path, pattern: str, seconds: float) -> str:
    until = time.monotonic() + seconds
    while not re.search(pattern, printed := output.read_text()):
        assert time.monotonic() < until, printed[-4000:]
        time.sleep(0.3)
    return printed


async def test_a_check_that_stumbles_is_a_line_and_the_next_one_runs() -> None:
    table = CheckTable()

    async def stumbles() -> tuple[bool, str]:
        raise Refusal("the gateway did not answer")

    async def holds() -> tuple[bool, str]:
        return True, "seen"

    await table.check("甲", "first", stumbles())
    await table.check("乙", "second", holds())
    assert [line.held for line in table.lines] == [False, True]
    assert "did not answer" in table.lines[0].detail
    assert not table.all_held
    assert "1 did not hold" in table.verdict


def test_errors_of_an_answer_are_told_with_path_and_code() -> None:
    error = {"message": "gone", "path": ["me", "health"], "extensions": {"code": "SERVICE_UNAVAILABLE"}}
    assert words_of([error]) == "me.health: SERVICE_UNAVAILABLE gone"
