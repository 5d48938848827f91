"""Events as the services publish them, for tests and benches that have no crowd at hand."""

from typing import Any


def crowd_warning(**about: Any) -> dict[str, Any]:
    """Data of `transport.warning.raised`."""
    return {
        "warning": "0199d2f0-0000-7000-8000-000000000001",
        "zone": "west-lake/1",
        "zone_name": {"zh": "断桥", "en": "Broken Bridge"},
        "site": "west-lake",
        "policy": "0199d2f0-0000-7000-8000-000000000002",
        "episode": 1,
        "revision": 1,
        "level": "orange",
        "previous": "normal",
        "people": 27_000,
        "capacity": 30_000,
        "share": 0.9,
        "at": "2026-10-01T09:00:00+08:00",
        "cause": "flow",
        "text": {"zh": "橙色预警: 断桥", "en": "Orange warning: Broken Bridge"},
        **about,
    }
