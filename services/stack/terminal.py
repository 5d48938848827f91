"""What a person reads in the terminal: Chinese first, English beside it, one line for one thing."""

import sys


class Refusal(Exception):
    """The command cannot do what was asked; the text is the one line that says why and what to do.

    Attributes:
        code: the process's exit code.
    """

    def __init__(self, line: str, *, code: int = 1) -> None:
        super().__init__(line)
        self.code = code


def say(line: str = "") -> None:
    print(line, flush=True)


def step(done: str, *, about: str = "", seconds: float | None = None) -> None:
    """One thing that is now the case: `✓ PostgreSQL   127.0.0.1:54321   1.2 s`."""
    took = f"  {seconds:.1f} s" if seconds is not None else ""
    say(f"  ✓ {_padded(done, 24)} {about}{took}")


def warn(line: str) -> None:
    print(f"  ! {line}", file=sys.stderr, flush=True)


def _padded(text: str, width: int) -> str:
    """Chinese characters take two columns."""
    return text + " " * max(0, width - sum(2 if ord(letter) > 0x2E7F else 1 for letter in text))
