"""From pairs, heaviest first, to links and groups."""

from collections.abc import Iterable, Mapping


def one_to_one(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pairs that are left when every record may be linked once and the heavier pair goes first."""
    left: set[int] = set()
    right: set[int] = set()
    chosen = []
    for one, other in pairs:
        if one not in left and other not in right:
            left.add(one)
            right.add(other)
            chosen.append((one, other))
    return chosen


def grouped(
    pairs: Iterable[tuple[int, int]], sure: Mapping[int, str]
) -> tuple[dict[int, int], list[tuple[int, int]]]:
    """Who belongs together, as record → lowest record of its group, and the pairs that were refused.

    Args:
        sure: identifiers of which a person has one; a pair that would bring two together is refused.
    """
    parent: dict[int, int] = {}
    held = dict(sure)
    refused = []

    def root(record: int) -> int:
        while (above := parent.setdefault(record, record)) != record:
            parent[record] = record = parent[above]
        return record

    for pair in pairs:
        one, other = sorted(map(root, pair))
        if one == other:
            continue
        if one in held and other in held and held[one] != held[other]:
            refused.append(pair)
            continue
        parent[other] = one
        if other in held:
            held[one] = held[other]
    return {record: root(record) for record in parent}, refused
