"""How long what is over is kept, in days: `rules/retention.json`.

deliveries      delivered or stopped ones, and what they told once no delivery of it is left
dead_letters    so long they can be replayed
notifications   with all their times
messages        of topics: two weeks longer than the month in which a stream or page can be gone on with
escalations     from the end of the fact, and as long as a notification shows what became of it
"""

from importlib.resources import files

import orjson

from services.notify.repository import retention


def statements() -> dict[str, str]:
    """What the service's chores delete, by what it is; nothing of a fact that is not over."""
    found = files("services.notify").joinpath("rules/retention.json").read_bytes()
    return retention.statements(orjson.loads(found))
