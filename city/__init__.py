"""A simulated city: hospitals, schools, offices and gates that push what happens to its people, seeded.

`roster(people, seed)` says which clients and accounts it needs; `python -m city` builds, pushes and replays.
"""

from city.roster import Account, Client, Roster, roster
from city.simulation import City

__all__ = ["Account", "City", "Client", "Roster", "roster"]
