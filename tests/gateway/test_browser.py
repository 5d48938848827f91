"""The start page and the query editor in a real browser, over the real suite."""

import os
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from gateway.pages import PAGES
from services.identity.scopes import ROLES
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person
from tests.support.suite import Suite, in_thread_sync

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
PHONE = {"width": 360, "height": 740}
FOCUSABLE = "a, button, input:not([type=hidden]), select, textarea, summary"
NUMBER = citizen_number(sequence=4)
WHERE = """() => {
  const at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at);
  return { tag: at.tagName, words: at.innerText || at.value || at.name, outline: style.outlineStyle,
           shown: box.width > 0 && box.height > 0 && box.right > 0 };
}"""


def looked_at(suite: Suite, path: str, look: Any, *, as_: str | None = None, scripts: bool = True) -> Any:
    """What `look(page)` says of a page, seen by somebody signed in; nothing may go wrong in its console."""

    def work() -> Any:
        with sync_playwright() as playwright:
            browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page: Page = browser.new_page(viewport=PHONE, java_script_enabled=scripts)  # type: ignore[arg-type]
            wrong: list[str] = []

            def heard(message: ConsoleMessage) -> None:
                if message.type == "error":
                    wrong.append(message.text)

            page.on("console", heard)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(suite.base_url + path)
            if as_ is not None:
                page.fill("input[name=username]", as_)
                page.fill("input[type=password]", "demo-password-1")
                page.keyboard.press("Enter")
                page.wait_for_selector(".who")
            try:
                return look(page)
            finally:
                browser.close()
                assert wrong == []

    return in_thread_sync(work)


def axe() -> str | None:
    """The source of axe-core, an npm package that .ci/run installs."""
    folder = Path(os.environ.get("HUIMIN_NODE_MODULES", "/nowhere")) / "node_modules" / "axe-core"
    return (folder / "axe.min.js").read_text() if folder.is_dir() else None


@pytest.fixture(scope="module")
def citizen(suite: Suite) -> str:
    who = person("reader", (CITIZEN_NUMBER, NUMBER), name="王芳", birth_date="1985-03-14", sex="female")
    suite.as_stack("POST", "identity", "/identity/persons", {"people": [who]})
    suite.account("page-reader", kind="person", identifier=NUMBER)
    return "page-reader"


@pytest.fixture(scope="module")
def accounts(suite: Suite, citizen: str) -> dict[str, str]:
    """Who opens which set of pages."""
    suite.account("page-clerk", kind="staff", roles=sorted(ROLES), areas=["330100"])
    return {one.path: citizen if one.name == "me" else "page-clerk" for one in PAGES if one.kinds}


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


@pytest.mark.parametrize("path", [one.path for one in PAGES])
def test_every_page_fits_a_phone_in_both_languages_and_sizes(
    suite: Suite, accounts: dict[str, str], path: str
) -> None:
    def look(page: Page) -> list[tuple[str, str, int]]:
        found = []
        for lang, size in product(("zh", "en"), ("normal", "large")):
            page.goto(f"{suite.base_url}{path}?lang={lang}&size={size}")
            width = page.evaluate("document.documentElement.scrollWidth")
            if width != PHONE["width"]:
                found.append((lang, size, width))
        return found

    assert looked_at(suite, path, look, as_=accounts.get(path)) == []


@pytest.mark.parametrize("path", [one.path for one in PAGES])
def test_no_page_has_what_axe_finds_wrong(suite: Suite, accounts: dict[str, str], path: str) -> None:
    source = axe()
    if source is None:
        pytest.skip("npm package axe-core is not here; .ci/run installs it")

    def look(page: Page) -> list[str]:
        found = []
        for scheme, lang in product(("light", "dark"), ("zh", "en")):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(f"{suite.base_url}{path}?lang={lang}")
            page.evaluate(source)
            result = page.evaluate("axe.run()")
            assert result["passes"]
            found += [
                f"{scheme} {lang} {one['id']}: {node['html'][:200]}"
                for one in result["violations"]
                for node in one["nodes"]
            ]
        return found

    assert looked_at(suite, path, look, as_=accounts.get(path)) == []


@pytest.mark.parametrize("path", ["/me", "/console"])
def test_the_keyboard_walks_a_page_in_order_and_always_shows_where_it_is(
    suite: Suite, accounts: dict[str, str], path: str
) -> None:
    def look(page: Page) -> list[dict[str, Any]]:
        page.goto(f"{suite.base_url}{path}?lang=en")
        steps = []
        for _ in range(
            page.locator("a, button, input:not([type=hidden]), select, textarea, summary").count()
        ):
            page.keyboard.press("Tab")
            steps.append(page.evaluate(WHERE))
        return steps

    steps = looked_at(suite, path, look, as_=accounts[path])
    walked = [step for step in steps if step["tag"] != "BODY"]
    assert walked[0]["words"] == "Skip to content"
    assert [step["words"] for step in walked][1] == "Huimin"
    assert "Sign out" in [step["words"] for step in walked]
    assert [step for step in walked if step["outline"] in ("none", "0px") or not step["shown"]] == []


def test_a_citizen_gets_through_without_scripts(suite: Suite, citizen: str) -> None:
    def look(page: Page) -> tuple[str, str]:
        name = page.locator(".who").inner_text()
        page.click("header form button")
        page.wait_for_selector(".notice")
        return name, page.locator(".tools").inner_text()

    name, tools = looked_at(suite, "/me?lang=en", look, as_=citizen, scripts=False)
    assert name == "王芳"
    assert "Sign in" in tools


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


def test_what_is_pushed_rings_while_no_page_looks(suite: Suite, citizen: str) -> None:
    """The worker of the page, given a message as a push service's end would."""
    message = '{"id": "m-1", "title": "断桥：橙色预警", "body": "90 人", "lang": "zh-Hans", "urgent": true}'

    def look(page: Page) -> list[Any]:
        page.context.grant_permissions(["notifications"])
        page.evaluate(
            """async () => {
              await navigator.serviceWorker.register("/static/push-worker.js");
              const worker = (await navigator.serviceWorker.getRegistrations())[0];
              while (!worker.active) await new Promise((done) => setTimeout(done, 50));
            }"""
        )
        devtools = page.context.new_cdp_session(page)
        ids: list[str] = []
        devtools.on(
            "ServiceWorker.workerRegistrationUpdated",
            lambda event: ids.extend(one["registrationId"] for one in event["registrations"]),
        )
        devtools.send("ServiceWorker.enable")
        page.wait_for_timeout(500)
        devtools.send(
            "ServiceWorker.deliverPushMessage",
            {"origin": suite.base_url, "registrationId": ids[0], "data": message},
        )
        found: list[Any] = page.evaluate(
            """async () => {
              const worker = (await navigator.serviceWorker.getRegistrations())[0];
              for (let i = 0; i < 100; i++) {
                const shown = await worker.getNotifications();
                if (shown.length) return shown.map((one) => [one.title, one.body, one.tag, one.lang]);
                await new Promise((done) => setTimeout(done, 50));
              }
              return [];
            }"""
        )
        return found

    shown = looked_at(suite, "/me/notifications?lang=zh", look, as_=citizen)
    assert shown == [["断桥：橙色预警", "90 人", "m-1", "zh-Hans"]]
