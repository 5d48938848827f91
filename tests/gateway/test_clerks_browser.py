"""The clerks' and the privacy officer's pages in a real browser: on a phone, by keyboard alone."""

import os
from itertools import product

import pytest
from playwright.sync_api import Page

from tests.gateway.test_browser import PHONE, WHERE, looked_at, pytestmark
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person
from tests.support.suite import Suite

__all__ = ["pytestmark"]
CLERK = "browser-clerk"
HERE = "/console/identity"
WIDTH = "document.documentElement.scrollWidth"
KEEP = os.environ.get("HUIMIN_SCREENSHOTS")


@pytest.fixture(scope="module")
def clerk(suite: Suite) -> str:
    """Somebody with all pages of these, and a pair to look at."""
    suite.account(CLERK, kind="staff", roles=["identity_clerk", "privacy_officer"], areas=["330100"])
    said = {"name": "令狐伟明", "sex": "male", "area": "330106"}
    people = [
        person("a", (CITIZEN_NUMBER, citizen_number(sequence=77)), birth_date="1985-03-14", **said),
        person("b", ("urn:civil:file", "77"), birth_date="1985-03-15", **said),
    ]
    for one in people:
        suite.as_stack("POST", "identity", "/identity/persons", {"people": [one]})
    return CLERK


@pytest.mark.parametrize("path", [HERE, f"{HERE}/merge", f"{HERE}/runs", "/console/access-reviews"])
def test_they_fit_a_phone_in_both_languages_and_sizes(suite: Suite, clerk: str, path: str) -> None:
    def look(page: Page) -> list[tuple[str, str, int]]:
        found = []
        for lang, size in product(("zh", "en"), ("normal", "large")):
            page.goto(f"{suite.base_url}{path}?lang={lang}&size={size}")
            if KEEP and size == "normal":
                page.screenshot(path=f"{KEEP}/{path.rpartition('/')[2]}_{lang}.png", full_page=True)
            if (width := page.evaluate(WIDTH)) != PHONE["width"]:
                found.append((lang, size, width))
        return found

    assert looked_at(suite, path, look, as_=clerk) == []


def test_a_pair_is_proposed_by_keyboard_alone_and_waits_for_somebody_else(suite: Suite, clerk: str) -> None:
    def look(page: Page) -> tuple[str, str, int]:
        page.goto(f"{suite.base_url}{HERE}?lang=en")
        page.get_by_role("link", name="令狐伟明").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#decision")
        page.locator("input[name=decision]").first.focus()
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        page.keyboard.type("the same address and the same voice")
        page.keyboard.press("Tab")
        assert page.evaluate(WHERE)["outline"] not in ("none", "0px")
        page.keyboard.press("Enter")
        page.wait_for_selector(".notice")
        if KEEP:
            page.screenshot(path=f"{KEEP}/proposed.png", full_page=True)
        said = page.locator(".notice").first.inner_text()
        return said, page.locator("label.choice").first.inner_text(), page.evaluate(WIDTH)

    said, first, width = looked_at(suite, HERE, look, as_=clerk)
    assert said == "The proposal has been recorded. Another clerk has to confirm it."
    assert first == "One person: confirm and make them one"
    assert width == PHONE["width"]


def test_two_entries_are_put_in_by_keyboard(suite: Suite, clerk: str) -> None:
    def look(page: Page) -> str:
        page.goto(f"{suite.base_url}{HERE}/merge?lang=en")
        page.locator("#person").focus()
        page.keyboard.type("h1_" + "A" * 26)
        page.keyboard.press("Tab")
        page.keyboard.type("h1_" + "B" * 26)
        page.keyboard.press("Tab")
        page.keyboard.type("seen at the same counter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector(".notice.bad")
        return page.locator(".notice.bad").inner_text() + page.url.rpartition("?")[2]

    assert looked_at(suite, HERE, look, as_=clerk) == "Identity: Not found.person=h1_" + "A" * 26
