"""Pages that people open: server-rendered, bilingual, working without scripts; data through GraphQL only.

Each set of pages is a folder of its own: `router.py` (exports `router`), `templates/`, `queries/*.graphql`,
`locales/{zh,en}.json`, and a row in PAGES. What all of them share stands beside the folders: `frame.py` is
what a router uses, `signin.py` the session behind it, `rendering.py` texts and templates.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from fastapi import APIRouter

from services.kit.principals import Kind, Principal


@dataclass(frozen=True, slots=True)
class PageSet:
    """One folder of pages.

    Attributes:
        name: the folder's; its text `nav_<name>` is what the navigation calls it.
        path: where it begins; everything below belongs to it, unless a longer path is another's.
        kinds: who may open it; empty for anybody.
        scopes: any one of them is needed; empty for none.
    """

    name: str
    path: str
    kinds: tuple[Kind, ...] = ()
    scopes: tuple[str, ...] = ()

    def opens_to(self, who: Principal) -> bool:
        return (not self.kinds or who.kind in self.kinds) and (not self.scopes or who.may(*self.scopes))


PAGES = (
    PageSet("start", "/"),
    PageSet("me", "/me", kinds=("person",)),
    PageSet("notifications", "/me/notifications", kinds=("person", "staff")),
    PageSet("console", "/console", kinds=("staff",)),
    PageSet("identity", "/console/identity", kinds=("staff",), scopes=("identity:matches:decide",)),
    PageSet("reviews", "/console/access-reviews", kinds=("staff",), scopes=("health:access-reviews:decide",)),
    PageSet("exchange", "/console/exchange", kinds=("staff",), scopes=("exchange:agreements:write",)),
    PageSet("reports", "/console/usage-reports", kinds=("staff",), scopes=("exchange:usage-reports:answer",)),
    PageSet(
        "duties",
        "/console/flows/duties",
        kinds=("staff",),
        scopes=("notify:duties:take", "notify:rosters:write"),
    ),
    PageSet("operations", "/console/operations", kinds=("staff",), scopes=("operations:read",)),
)
"""In the order of the navigation."""


def page_set_of(path: str) -> PageSet | None:
    """Whose page a path is: the longest that it begins with, cut at a slash."""
    found = [one for one in PAGES if path == one.path or path.startswith(one.path.rstrip("/") + "/")]
    return max(found, key=lambda one: len(one.path), default=None)


def routers() -> Iterator[APIRouter]:
    """The doors of every set, and those they share."""
    for name in ("files", "signin_doors", *(f"{one.name}.router" for one in PAGES)):
        yield import_module(f"{__name__}.{name}").router
