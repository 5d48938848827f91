"""Sector ids: one person, unrelated names. What must never happen is that two sectors' dumps join."""

import base64
import hashlib
import hmac
from itertools import combinations
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.identity.sectors import SECTORS, sector_id
from services.identity.vault import vault_of
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person

keys = st.binary(min_size=32, max_size=32)
SHARED = 8


def parts(id: str) -> set[str]:
    return {id[start : start + SHARED] for start in range(len(id) - SHARED + 1)}


def test_the_form_is_the_documented_one() -> None:
    key, pid = bytes(range(32)), UUID(int=1)
    digest = hmac.new(key, pid.bytes, hashlib.sha256).digest()
    assert sector_id(key, pid) == "h1_" + base64.b32encode(digest).decode()[:26]


@given(st.uuids(), keys, keys)
def test_two_sectors_name_a_person_without_a_common_part(pid: UUID, one: bytes, other: bytes) -> None:
    if one != other:
        assert parts(sector_id(one, pid)).isdisjoint(parts(sector_id(other, pid)))


@given(keys, st.uuids(), st.uuids())
def test_two_people_of_a_sector_differ(key: bytes, one: UUID, other: UUID) -> None:
    assert (sector_id(key, one) == sector_id(key, other)) == (one == other)


@given(
    st.lists(st.uuids(), min_size=1, max_size=30, unique=True),
    st.lists(keys, min_size=len(SECTORS), max_size=len(SECTORS), unique=True),
)
def test_no_two_sectors_dumps_of_whatever_people_share_a_part(pids: list[UUID], secrets: list[bytes]) -> None:
    dumps = [{part for pid in pids for part in parts(sector_id(key, pid)[3:])} for key in secrets]
    for one, other in combinations(dumps, 2):
        assert one.isdisjoint(other)


async def test_no_two_sectors_dumps_share_a_part(identity: Identity) -> None:
    """Whole dumps of 60 people: nothing of 8 characters stands in two sectors."""
    people = [person(str(n), (CITIZEN_NUMBER, citizen_number(sequence=n))) for n in range(60)]
    dumps: dict[str, set[str]] = {}
    for service in ("health", "social_security", "education", "transport"):
        http = await identity.as_service(service)
        answer = await http.post("/identity/resolve", json={"people": people})
        # The common beginning h1_ is no part of the name.
        ids = {one["sector_id"].removeprefix("h1_") for one in answer.json()["people"]}
        assert len(ids) == 60
        dumps[service] = {part for id in ids for part in parts(id)}
    for one, other in combinations(dumps, 2):
        assert dumps[one].isdisjoint(dumps[other]), (one, other)


async def test_keys_are_made_once_and_kept_wrapped(identity: Identity) -> None:
    rows = await identity.rows("select sector, version, wrapped_key from vault.sector_key order by sector")
    assert [row["sector"] for row in rows] == sorted(SECTORS)
    assert all(len(row["wrapped_key"]) == 12 + 32 + 16 for row in rows)
    register = identity.kit.parts["register"]
    async with vault_of(identity.kit).transaction() as tx:
        again = await type(register).open(tx, identity.kit.settings)
    assert again.sectors.id_of("health", UUID(int=7)) == register.sectors.id_of("health", UUID(int=7))
