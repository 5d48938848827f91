"""Three accesses to one citizen's data, through the doors: a hospital, an auditor, one that is refused."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from services.stack.clients import ClientFile, file_name
from services.stack.terminal import Refusal

if TYPE_CHECKING:
    from services.stack.demo import Demo

CITIZEN = "insured"
"""Whose data: somebody with a record at a hospital and a finding of the benefit audit."""
FINDINGS = """\
query Findings($after: String) { findings(first: 100, after: $after) {
  pageInfo { endCursor hasNextPage } } }"""
DATA_USAGE = """\
{ me { hiddenUsages dataUsage(first: 100, own: false) { nodes {
  at action actionZh actionEn organisation organisationZh organisationEn reasonZh reasonEn
  purpose outcome records proof { leafIndex } } } } }"""


@dataclass(frozen=True)
class Accesses:
    """Which organisations had to do with the citizen's data.

    Attributes:
        hospital: read its patient's record.
        stranger: tried to, and does not treat the patient.
    """

    hospital: str
    stranger: str
    kinds: ClassVar = ("hospital", "auditor", "refused")

    def shown(self, usages: list[dict[str, Any]], kind: str) -> dict[str, Any]:
        """The usage of this kind in the citizen's list, with its reason in two languages; empty if none."""
        wanted = {
            "hospital": ("fhir.read", "permitted", self.hospital),
            "auditor": ("findings.read", "permitted", None),
            "refused": ("fhir.read", "refused", self.stranger),
        }[kind]
        for usage in usages:
            said = usage["action"], usage["outcome"], usage["organisation"]
            same = said == wanted or (wanted[2] is None and said[:2] == wanted[:2])
            if same and usage["reasonZh"] != usage["reasonEn"] and usage["actionZh"] != usage["actionEn"]:
                return usage
        return {}


async def make_accesses(demo: "Demo") -> Accesses | None:
    """None in a city too small to have such a citizen.

    Raises:
        Refusal: a door did not do what it should.
    """
    citizen = next((one for one in demo.accounts if one["username"] == CITIZEN), None)
    if citizen is None:
        return None
    async with httpx.AsyncClient(base_url=demo.address, timeout=30.0, trust_env=False) as http:
        hospital, patient = await _read(demo, http, citizen["identifier"])
        stranger = await _refused(demo, http, hospital, patient)
    await _audited(demo)
    return Accesses(str(hospital.organisation), str(stranger.organisation))


async def _read(demo: "Demo", http: httpx.AsyncClient, identifier: dict[str, str]) -> tuple[ClientFile, str]:
    """A hospital looks its patient up, and opens the record."""
    form = {"identifier": f"{identifier['system']}|{identifier['value']}"}
    for hospital in _hospitals(demo):
        headers = await _headers(demo, hospital)
        found = (await http.post("/fhir/Patient/_search", data=form, headers=headers)).json()
        for entry in found.get("entry", []):
            path = f"/fhir/Patient/{entry['resource'].get('id')}"
            if (await http.get(path, headers=headers)).status_code == 200:
                return hospital, path
    raise Refusal("没有医院保管该居民的档案 · no hospital keeps this citizen's record")


async def _refused(demo: "Demo", http: httpx.AsyncClient, keeper: ClientFile, patient: str) -> ClientFile:
    """Another hospital, which does not treat the patient, tries to."""
    for hospital in _hospitals(demo):
        if hospital.organisation != keeper.organisation:
            answer = await http.get(patient, headers=await _headers(demo, hospital))
            if answer.status_code in (403, 404):
                return hospital
    raise Refusal("其他医院未被拒绝 · no other hospital was refused")


async def _audited(demo: "Demo") -> None:
    """The auditor goes through the findings."""
    after: str | None = None
    while True:
        answer = await demo.gateway.ask(FINDINGS, {"after": after}, as_="auditor")
        info: Any = ((answer.get("data") or {}).get("findings") or {}).get("pageInfo")
        if info is None:
            raise Refusal("稽核员无法查看线索 · the auditor cannot read the findings")
        if not info["hasNextPage"]:
            return
        after = info["endCursor"]


def _hospitals(demo: "Demo") -> list[ClientFile]:
    return [
        ClientFile.read(demo.home.clients / f"{file_name(client['name'])}.json")
        for client in demo.clients
        if client["kind"] == "hospital"
    ]


async def _headers(demo: "Demo", client: ClientFile) -> dict[str, str]:
    return {"authorization": f"Bearer {await client.token(address=demo.address)}"}
