"""What people read of an access: words for its action, its reason, its purpose, and who had to do with it."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from services.audit.shapes import Usage
from services.exchange.person_shapes import Bilingual
from services.exchange.person_shapes import Usage as UsageInWords
from services.identity.client import IdentityClient
from services.identity.shapes import Organisation
from services.kit import purposes

OWN = "services/exchange"
_SERVICE = "service:"


@cache
def _known() -> Mapping[str, Mapping[str, Bilingual]]:
    text = files("services.exchange").joinpath("knowledge/words.json").read_text(encoding="utf-8")
    return {
        kind: {code: Bilingual(zh=zh, en=en) for code, (zh, en) in entries.items()}
        for kind, entries in json.loads(text).items()
    }


def of(kind: str, code: str) -> Bilingual:
    """Words of a code; of one that is not known, the code itself.

    Args:
        kind: services, actions, reasons or receivers.
    """
    return _known()[kind].get(code) or Bilingual(zh=code, en=code)


def of_purpose(code: str) -> Bilingual:
    found = purposes.words_of(code)
    return Bilingual(zh=found.zh, en=found.en)


async def names(identity: IdentityClient, codes: Iterable[str | None]) -> dict[str, Bilingual]:
    """Names of organisations by code, and of our own services: one call for all that are not ours."""
    asked = {code for code in codes if code is not None}
    services = {code: of("services", code.removeprefix(_SERVICE)) for code in asked if _is_service(code)}
    others = sorted(asked - services.keys())
    found = await identity.organisations(others) if others else {}
    return services | {code: _name(found.get(code), code) for code in others}


def _is_service(code: str) -> bool:
    return code.removeprefix(_SERVICE) in _known()["services"]


def _name(organisation: Organisation | None, code: str) -> Bilingual:
    if organisation is None:
        return Bilingual(zh=code, en=code)
    return Bilingual(zh=organisation.name, en=organisation.name_en or organisation.name)


def receiver_of(usage: Usage) -> str:
    """Who had to do with the data: an organisation's code, or a client's name where there is none."""
    return usage.organisation or usage.client or f"{_SERVICE}{usage.service}"


def in_words(usage: Usage, names: Mapping[str, Bilingual]) -> UsageInWords:
    """A leaf as people read it.

    Args:
        names: what `names` found for the receivers.
    """
    receiver = receiver_of(usage)
    own = usage.organisation is None and usage.purpose == purposes.OWN_RECORDS and not _is_service(receiver)
    return UsageInWords(
        leaf_index=usage.index,
        at=usage.at,
        service=usage.service,
        action=usage.action,
        action_words=of("actions", usage.action),
        organisation=receiver,
        organisation_words=of("receivers", "own") if own else names[receiver],
        system=usage.system or of("services", usage.service).zh,
        purpose=usage.purpose,
        purpose_words=of_purpose(usage.purpose) if usage.purpose else None,
        legal_basis=usage.legal_basis,
        reason=usage.reason,
        reason_words=_reason(usage),
        outcome=usage.outcome,
        records=usage.records,
        agreement=usage.agreement,
    )


def _reason(usage: Usage) -> Bilingual:
    """The reason said; without one, what the access was for and what it rested on, or what was done."""
    if usage.reason:
        return of("reasons", usage.reason)
    if usage.purpose is None:
        return of("actions", usage.action)
    purpose = of_purpose(usage.purpose)
    if usage.relation is None or usage.relation == usage.purpose:
        return purpose
    tie = of("reasons", usage.relation)
    return Bilingual(zh=f"{purpose.zh}（{tie.zh}）", en=f"{purpose.en} ({tie.en})")
