"""The sign-in page in a real browser: on a phone, by keyboard alone, and under its own policies."""

import shutil
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.async_api import Page, async_playwright

from tests.identity.parties import PASSWORD, Browser
from tests.identity.served import Served, served_identity
from tests.support.databases import TestServers

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
PHONE = {"width": 360, "height": 640}


@pytest.fixture(scope="module")
async def served(servers: TestServers) -> AsyncIterator[Served]:
    async with served_identity(servers) as found:
        await found.post("accounts", {"kind": "person", "username": "zhang", "password": PASSWORD})
        yield found


@pytest.fixture
async def page(served: Served) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport=PHONE)  # type: ignore[arg-type]
        yield page
        await browser.close()


def address(served: Served) -> str:
    asks = Browser(served.http, redirect_uri=f"{served.issuer}/gateway/callback").asks
    return f"{served.issuer}/oauth/authorize?{urlencode(asks)}"


async def test_signing_in_needs_nothing_but_a_keyboard(served: Served, page: Page) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    await page.goto(address(served))
    focused = "document.activeElement.name || document.activeElement.type"
    assert await page.evaluate(focused) == "username"
    await page.keyboard.type("zhang")
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "password"
    await page.keyboard.type("wrong")
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == "submit"
    await page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    await alert.wait_for()
    assert "用户名或密码不正确" in await alert.inner_text()
    assert await page.input_value("#username") == "zhang"
    assert await page.evaluate(focused) == "password"
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/gateway/callback?*")
    said = parse_qs(urlsplit(page.url).query)
    assert set(said) == {"code", "state", "iss"}
    # The wrong password's 401, and 404 because no gateway stands behind this identity; no policy was broken.
    assert [text for text in complaints if "status of 40" not in text] == []


async def test_the_page_fits_a_phone_and_large_letters(served: Served, page: Page) -> None:
    await page.goto(address(served))
    for size in ("100%", "200%"):
        # Set from outside the page: its own policy lets no style in.
        await page.evaluate("size => { document.documentElement.style.fontSize = size }", size)
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), size
    for control in ("#username", "#password", "button"):
        box = await page.locator(control).bounding_box()
        assert box is not None
        assert box["height"] >= 44


async def test_fields_have_names_and_languages_are_marked(served: Served, page: Page) -> None:
    await page.goto(address(served))
    assert await page.get_by_label("用户名").count() == 1
    assert await page.get_by_label("Password").count() == 1
    assert await page.get_attribute("html", "lang") == "zh-Hans"
    assert await page.get_by_role("heading", level=1).count() == 1
    assert "Sign in" in await page.locator("h1 [lang=en]").inner_text()


async def test_the_page_that_stops_reads_as_one(served: Served, page: Page) -> None:
    answer = await page.goto(f"{served.issuer}/oauth/authorize?client_id=nobody")
    assert answer is not None
    assert answer.status == 400
    assert "没有在本系统登记" in await page.get_by_role("alert").inner_text()
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
