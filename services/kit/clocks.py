"""Ends that hold although somebody sets the clock."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ending:
    """Of something that is good for so long, as a token is: over as soon as either clock says so.

    The wall clock alone would keep it for long when it is set back; the monotonic one would go on using
    what everybody else, by a clock set forward, takes for ended.
    """

    wall: float
    monotonic: float

    @classmethod
    def after(cls, seconds: float) -> "Ending":
        return cls(time.time() + seconds, time.monotonic() + seconds)

    @property
    def over(self) -> bool:
        return time.time() >= self.wall or time.monotonic() >= self.monotonic
