"""The pages' own texts and files: both languages whole, nothing unused, nothing from elsewhere."""

import json
import re
from hashlib import sha256

import pytest

from gateway.house import SERVICES
from gateway.pages import PAGES
from gateway.pages.files import static
from gateway.pages.rendering import HERE, STATIC
from gateway.pages.start.router import LEVELS
from services.identity.scopes import ROLES
from services.kit.problems import Problem

FOLDERS = ("", *(one.name for one in PAGES))
LANGUAGES = ("zh", "en")
CHINESE = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
"""Characters and the punctuation between them."""
SAID_BY_CODE = {
    "": {f"service_{name}" for name in SERVICES}
    | {f"role_{role}" for role in ROLES}
    | {"kind_person", "kind_staff"},
    "start": {f"level_{name}" for name in ("yellow", "orange", "red")},
}
"""Keys made from names that are not the pages' own."""


def own_texts(folder: str, language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((HERE / folder / "locales" / f"{language}.json").read_text())
    return found


def sources(folder: str) -> str:
    """Templates and code of a folder; of the common ones, those beside the folders."""
    place = HERE / folder
    files = [*place.glob("*.py"), *(place / "templates").glob("*.html")]
    return "\n".join(path.read_text() for path in files)


def named_keys(folder: str) -> tuple[set[str], set[str]]:
    """The keys a folder's sources name in full, and the beginnings of those they make up."""
    text = sources(folder)
    named = re.findall(r"\bt\.(?!get\b)([a-z_0-9]+)", text) + re.findall(r"""\bt\[["'](\w+)["']\]""", text)
    begun = re.findall(r'\bt(?:\[|\.get\()"(\w+_)" ?~', text) + re.findall(
        r'\bt(?:\[|\.get\()f"(\w+_)\{', text
    )
    return set(named), set(begun)


@pytest.mark.parametrize("folder", FOLDERS)
def test_both_languages_say_the_same_things(folder: str) -> None:
    zh, en = (own_texts(folder, language) for language in LANGUAGES)
    assert zh.keys() == en.keys()
    assert not [key for key, text in zh.items() if not re.search(CHINESE, text)]
    assert not [key for key, text in en.items() if re.search(r"[\u4e00-\u9fff]", text)]
    places = {key: set(re.findall(r"\{(\w*)\}", text)) for key, text in zh.items()}
    assert places == {key: set(re.findall(r"\{(\w*)\}", text)) for key, text in en.items()}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_text_that_is_used_is_there(folder: str) -> None:
    there = own_texts("", "zh").keys() | own_texts(folder, "zh").keys()
    named, _ = named_keys(folder)
    assert named | SAID_BY_CODE.get(folder, set()) <= there
    if folder:
        assert f"nav_{folder}" in there or folder == "start"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_text_that_is_there_is_used(folder: str) -> None:
    # What stands in the common texts may be used anywhere; what a folder says, there alone.
    users = FOLDERS if folder == "" else (folder,)
    named = {key for user in users for key in named_keys(user)[0]}
    begun = {key for user in {"", *users} for key in named_keys(user)[1]}
    quoted = {word for user in users for word in re.findall(r'"(\w+)"', sources(user))}
    own = {f"nav_{folder}", f"about_{folder}"} | SAID_BY_CODE.get(folder, set())
    waiting = HERE / folder / "queries" / "waiting.graphql"
    if waiting.exists():
        own |= {f"waiting_{name}" for name in re.findall(r"^  (\w+)", waiting.read_text(), re.M)}
    left = own_texts(folder, "zh").keys() - named - quoted - own
    assert {key for key in left if not key.startswith(tuple(begun))} == set()


@pytest.mark.parametrize("folder", FOLDERS[1:])
def test_no_folder_says_again_what_all_say(folder: str) -> None:
    assert own_texts(folder, "zh").keys() & own_texts("", "zh").keys() == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_templates_speak_through_their_texts(folder: str) -> None:
    """No word for people stands in a template itself, but what is the same in every language."""
    for path in (HERE / folder / "templates").glob("*.html"):
        text = re.sub(r"\{% macro \w+_class.*?endmacro %\}", "", path.read_text(), flags=re.S)
        plain = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", " ", text, flags=re.S)
        words = set(re.findall(r"[A-Za-z\u4e00-\u9fff]{2,}", plain))
        assert words <= {"English", "中文", "FHIR", "OpenAPI"}, path


def test_pages_and_scripts_load_nothing_from_elsewhere() -> None:
    own = [p.read_text() for p in (*HERE.rglob("templates/*.html"), *STATIC.glob("*.*"))]
    found = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(https?:[^"')\s]+)""", "\n".join(own))
    assert found == []


@pytest.mark.parametrize("name", ["nowhere.js", "../frame.py", "\0", "a" * 300, "a/" * 3000])
async def test_a_name_no_file_has_is_a_404(name: str) -> None:
    with pytest.raises(Problem) as problem:
        await static(name)
    assert problem.value.status == 404


def test_vendored_files_are_those_their_table_names() -> None:
    folder = STATIC / "vendor"
    named = dict(
        re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (folder / "VENDORED.md").read_text(), re.M)
    )
    there = {p.name: sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "VENDORED.md"}
    assert named == there


def test_the_levels_drawn_are_those_of_the_capacity_policy() -> None:
    assert LEVELS == (80, 90, 100)
    style = (STATIC / "style.css").read_text()
    assert all(f".bar.{level} .fill" in style for level in ("yellow", "orange", "red"))
