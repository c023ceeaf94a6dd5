"""What a distribution asks for, and what that asks for, to the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def follow_requirements(
    name: str,
    extras: Iterable[str],
    requires: Mapping[str, Iterable[str]],
    machine: Mapping[str, str] | None = None,
) -> set[str]:
    """Return the normalized names of a distribution and of all that it needs.

    Args:
        name: Where to begin.
        extras: What is asked of it.
        requires: The requirements of each distribution, by normalized name.
        machine: Values of environment markers that differ from this machine's.
    """
    open_ends = [(canonicalize_name(name), extra) for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    while open_ends:
        if (end := open_ends.pop()) in seen:
            continue
        seen.add(end)
        for requirement in map(Requirement, requires.get(end[0], ())):
            if requirement.marker is None or requirement.marker.evaluate(
                {**(machine or {}), "extra": end[1]}
            ):
                wanted = canonicalize_name(requirement.name)
                open_ends += [(wanted, extra) for extra in ("", *requirement.extras)]
    return {found for found, _ in seen}
