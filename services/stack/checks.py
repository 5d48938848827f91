"""`./run check`: what CI holds the code to."""

import subprocess
import sys
import time

from services.stack.home import ROOT
from services.stack.program import python_environment
from services.stack.terminal import say

PACKAGES = ("services", "health", "social_security", "education", "transport", "gateway", "city")
LINT_IMPORTS = (
    "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
)


def commands() -> dict[str, list[str]]:
    """Each check by name, as arguments to Python: scripts' first lines break when a tree is moved."""
    trees = [*PACKAGES, *(name for name in ("bench", "tests") if any((ROOT / name).rglob("*.py")))]
    return {
        "ruff": ["-m", "ruff", "check", "."],
        "ruff format": ["-m", "ruff", "format", "--check", "."],
        "mypy": ["-m", "mypy", "run", *trees],
        "import-linter": ["-c", LINT_IMPORTS],
    }


def run_checks() -> int:
    """All of them, whichever fail; the exit code says whether all passed."""
    failed = []
    for name, arguments in commands().items():
        say(f"── {name}")
        began = time.monotonic()
        code = subprocess.call([sys.executable, *arguments], cwd=ROOT, env=python_environment())
        say(f"   {'✓' if code == 0 else '✗'} {name}  {time.monotonic() - began:.1f} s")
        if code != 0:
            failed.append(name)
    say("全部通过 · all passed" if not failed else f"未通过 · failed: {', '.join(failed)}")
    return 1 if failed else 0
