"""What the online path compares of a person: plain values of one record, in no log and in no repr."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from services.identity.linkage.model import DEFAULT, load


@dataclass(frozen=True, slots=True)
class Features:
    """One record of a person. What is not known is None and weighs nothing.

    Args:
        name: as written.
        birth_date: ISO 8601, or eight digits.
        sex: `male`, `female`; anything else counts as unknown.
        area: GB/T 2260 code of 6 digits or more.
        citizen_number: in clear, 15 or 18 characters; compared and forgotten.
        phone_hmac: blind form of the telephone number; any text that is equal for equal numbers.
    """

    name: str | None = field(default=None, repr=False)
    birth_date: str | None = field(default=None, repr=False)
    sex: str | None = None
    area: str | None = None
    citizen_number: str | None = field(default=None, repr=False)
    phone_hmac: str | None = field(default=None, repr=False)

    @property
    def record(self) -> Mapping[str, str | None]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


def blocking_keys(features: Features, model: str = DEFAULT) -> tuple[str, ...]:
    """Where other records of the same person are looked for: `ps:zhang|19800101`.

    Two records are worth scoring when they share one. They hold personal data in clear: keep a keyed hash.
    Rules on identifiers are left out (`stored`): those are looked up by their own blind index.
    """
    chosen = load(model)
    columns = chosen.columns_of(features.record)
    found = []
    for rule in chosen.blocking:
        values = [columns[column] for column in rule.on]
        if rule.stored and all(values):
            found.append(f"{rule.key}:{'|'.join(map(str, values))}")
    return tuple(found)
