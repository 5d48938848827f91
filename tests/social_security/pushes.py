"""Pushes as an agency would make them, for tests: rows that hold, and the files they stand in."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "contributions": (
        *("contribution_id", "citizen_number", "name", "employer_uscc", "scheme", "area", "period"),
        *("base", "amount", "currency", "declared_on"),
    ),
    "payments": (
        *("payment_id", "citizen_number", "scheme", "benefit", "area", "period", "amount", "currency"),
        *("paid_on", "account_hash"),
    ),
    "claims": (
        *("claim_id", "citizen_number", "provider_uscc", "scheme", "area", "admitted_on", "discharged_on"),
        *("claimed_on", "diagnosis", "total", "currency"),
    ),
    "claim_lines": (
        *("claim_id", "line_no", "item_code", "item_name", "service_date", "quantity", "unit_price"),
        *("amount", "currency", "practitioner"),
    ),
}


def number(index: int) -> str:
    """A citizen number whose check character holds; another one for each index."""
    seventeen = (
        f"370102{1940 + index % 60}{1 + index // 60 % 12:02d}{1 + index // 720 % 28:02d}{index % 1000:03d}"
    )
    return seventeen + "10X98765432"[sum(w * int(d) for w, d in zip(_WEIGHTS, seventeen, strict=True)) % 11]


def uscc(index: int) -> str:
    """A unified social credit code whose check character holds."""
    code = f"91370100{index:09d}"
    return code + _ALPHABET[-sum(pow(3, i, 31) * _ALPHABET.index(c) for i, c in enumerate(code)) % 31]


def contribution(id: str = "k1", person: int = 1, **said: Any) -> dict[str, Any]:
    row = {
        "contribution_id": id,
        "citizen_number": number(person),
        "name": "",
        "employer_uscc": uscc(7),
        "scheme": "employee_pension",
        "area": "370102",
        "period": "2026-03",
        "base": "6000.00",
        "amount": "480.00",
        "currency": "CNY",
        "declared_on": "2026-03-10",
    }
    return row | said


def payment(id: str = "p1", person: int = 1, **said: Any) -> dict[str, Any]:
    row = {
        "payment_id": id,
        "citizen_number": number(person),
        "scheme": "employee_pension",
        "benefit": "pension",
        "area": "370102",
        "period": "2026-03",
        "amount": "3200.00",
        "currency": "CNY",
        "paid_on": "2026-03-20",
        "account_hash": "a" * 64,
    }
    return row | said


def claim(id: str = "c1", person: int = 1, **said: Any) -> dict[str, Any]:
    row = {
        "claim_id": id,
        "citizen_number": number(person),
        "provider_uscc": uscc(9),
        "scheme": "employee_medical",
        "area": "370102",
        "admitted_on": "",
        "discharged_on": "",
        "claimed_on": "2026-03-15",
        "diagnosis": "J18.9",
        "total": "160.00",
        "currency": "CNY",
    }
    return row | said


def line(claim_id: str = "c1", line_no: int = 1, **said: Any) -> dict[str, Any]:
    row = {
        "claim_id": claim_id,
        "line_no": line_no,
        "item_code": "250102009",
        "item_name": "尿常规",
        "service_date": "2026-03-14",
        "quantity": "1",
        "unit_price": "80.00",
        "amount": "80.00",
        "currency": "CNY",
        "practitioner": "",
    }
    return row | said


def csv_of(kind: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or COLUMNS[kind], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
