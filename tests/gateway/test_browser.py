"""The start page and the query editor in a real browser, over the real suite."""

import shutil
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.support.suite import Suite, in_thread_sync

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
PHONE = {"width": 360, "height": 740}


def looked_at(suite: Suite, path: str, look: Any) -> Any:
    """What `look(page)` says of a page; nothing may go wrong in its console."""

    def work() -> Any:
        with sync_playwright() as playwright:
            browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page: Page = browser.new_page(viewport=PHONE)  # type: ignore[arg-type]
            wrong: list[str] = []

            def heard(message: ConsoleMessage) -> None:
                if message.type == "error":
                    wrong.append(message.text)

            page.on("console", heard)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(suite.base_url + path)
            try:
                return look(page)
            finally:
                browser.close()
                assert wrong == []

    return in_thread_sync(work)


@pytest.fixture(scope="module")
def citizen(suite: Suite) -> str:
    suite.account("page-reader", kind="person")
    return "page-reader"


@pytest.mark.parametrize(("lang", "html_lang", "title"), [("zh", "zh-Hans", "惠民"), ("en", "en", "Huimin")])
def test_the_start_page_reads_in_both_languages_on_a_phone(
    suite: Suite, lang: str, html_lang: str, title: str
) -> None:
    def look(page: Page) -> tuple[str, str, int, int]:
        page.wait_for_selector("#services section:nth-of-type(8)")
        return (
            page.title(),
            page.evaluate("document.documentElement.lang"),
            page.evaluate("document.documentElement.scrollWidth"),
            page.locator("#services .dot.down").count(),
        )

    assert looked_at(suite, f"/?lang={lang}", look) == (title, html_lang, PHONE["width"], 0)


def test_large_text_still_fits_a_phone(suite: Suite) -> None:
    width = looked_at(
        suite, "/?lang=en&size=large", lambda page: page.evaluate("document.documentElement.scrollWidth")
    )
    assert width == PHONE["width"]


def test_the_keyboard_reaches_the_content_first(suite: Suite) -> None:
    def look(page: Page) -> str:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        return page.url

    assert looked_at(suite, "/?lang=en", look).endswith("#content")


def test_the_page_follows_the_suite_live(suite: Suite) -> None:
    def look(page: Page) -> str:
        page.locator("#live-status", has_text="Updating live").wait_for()
        return page.locator("#live-status").inner_text()

    assert looked_at(suite, "/?lang=en", look) == "Updating live"


def test_the_editor_signs_a_person_in_and_runs_a_ready_query(suite: Suite, citizen: str) -> None:
    def look(page: Page) -> tuple[Any, str]:
        page.set_viewport_size({"width": 1300, "height": 800})
        page.click("#sign-in")
        page.fill("input[name=username]", citizen)
        page.fill("input[type=password]", "demo-password-1")
        page.keyboard.press("Enter")
        page.wait_for_selector("#sign-out:visible")
        with page.expect_response(
            lambda answer: '"operationName":"Me"' in (answer.request.post_data or "")
        ) as asked:
            page.click("button.graphiql-execute-button")
        page.locator(".result-window", has_text="me").wait_for()
        return asked.value.json(), page.locator(".result-window").inner_text()

    answer, shown = looked_at(suite, "/graphql", look)
    assert answer["data"]["me"] is not None
    assert "UNAUTHENTICATED" not in shown
