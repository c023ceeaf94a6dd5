"""What transfers leave in Redis, found by looking at its keys: the ledger may keep them as it likes."""

import re
from collections import defaultdict
from typing import NamedTuple

import redis

_AT_ONCE = 2000


class Weight(NamedTuple):
    """How many keys of one kind there are, and the bytes that they hold."""

    keys: int
    size_bytes: int


def kind_of(name: bytes) -> str:
    """Return a key's name with `*` for each part that is an id, a number or a digest."""
    parts = name.decode("utf-8", "replace").split(":")
    return ":".join("*" if re.search(r"[^a-z_.]", part, re.IGNORECASE) else part for part in parts)


def names_of(client: redis.Redis) -> list[bytes]:
    return list(client.scan_iter(count=_AT_ONCE))


def weigh_by_kind(client: redis.Redis) -> dict[str, Weight]:
    """Return what the keys of each kind hold, exactly: every element is looked at."""
    names = names_of(client)
    weighed: defaultdict[str, list[int]] = defaultdict(list)
    for first in range(0, len(names), _AT_ONCE):
        some = names[first : first + _AT_ONCE]
        pipe = client.pipeline(transaction=False)
        for name in some:
            pipe.memory_usage(name, samples=0)
        for name, size in zip(some, pipe.execute(), strict=True):
            weighed[kind_of(name)].append(size or 0)
    return {kind: Weight(len(sizes), sum(sizes)) for kind, sizes in weighed.items()}


def grown_by(before: dict[str, Weight], after: dict[str, Weight], count: int) -> dict[str, dict]:
    """Return the keys and bytes of each kind that came with each of `count` transfers."""
    grown = {}
    for kind, weight in after.items():
        had = before.get(kind, Weight(0, 0))
        keys, size = weight.keys - had.keys, weight.size_bytes - had.size_bytes
        if keys > 0 or size > 0:
            grown[kind] = {"keys": keys / count, "bytes": size / count}
    return grown
