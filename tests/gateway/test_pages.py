"""The pages' own texts and files: both languages whole, nothing unused, nothing from elsewhere."""

import json
import re
from hashlib import sha256

import pytest

from gateway.house import SERVICES
from gateway.pages.router import HERE, LEVELS, static
from services.kit.problems import Problem

TEMPLATES = {path.name: path.read_text() for path in (HERE / "templates").glob("*.html")}
LOCALES = {path.stem: json.loads(path.read_text()) for path in (HERE / "locales").glob("*.json")}


def used_keys() -> set[str]:
    text = "\n".join(TEMPLATES.values())
    return (
        set(re.findall(r"\bt\.(\w+)", text))
        | {f"service_{name}" for name in SERVICES}
        | {f"level_{name}" for name in ("yellow", "orange", "red")}
    )


def test_both_languages_say_the_same_things() -> None:
    assert LOCALES.keys() == {"zh", "en"}
    assert LOCALES["zh"].keys() == LOCALES["en"].keys()
    assert not [key for key, text in LOCALES["zh"].items() if not re.search(r"[\u4e00-\u9fff]", text)]
    assert not [key for key, text in LOCALES["en"].items() if re.search(r"[\u4e00-\u9fff]", text)]


def test_every_text_used_is_there_and_every_text_there_is_used() -> None:
    there = {key for key in LOCALES["zh"] if not key.startswith("count_")}
    assert used_keys() == there


def test_pages_and_scripts_load_nothing_from_elsewhere() -> None:
    own = [*TEMPLATES.values(), *(p.read_text() for p in (HERE / "static").glob("*.*"))]
    found = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(https?:[^"')\s]+)""", "\n".join(own))
    assert found == []


@pytest.mark.parametrize("name", ["nowhere.js", "../router.py", "\0", "a" * 300, "a/" * 3000])
async def test_a_name_no_file_has_is_a_404(name: str) -> None:
    with pytest.raises(Problem) as problem:
        await static(name)
    assert problem.value.status == 404


def test_vendored_files_are_those_their_table_names() -> None:
    folder = HERE / "static" / "vendor"
    named = dict(
        re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (folder / "VENDORED.md").read_text(), re.M)
    )
    there = {p.name: sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != "VENDORED.md"}
    assert named == there


def test_the_levels_drawn_are_those_of_the_capacity_policy() -> None:
    assert LEVELS == (80, 90, 100)
    style = (HERE / "static" / "style.css").read_text()
    assert all(f".bar.{level} .fill" in style for level in ("yellow", "orange", "red"))
