"""Which living workers have another version, registry or setting than most, and so give other answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from transfer_worker.monitoring.present import WorkerStatus

KINDS: Final = ("version", "registry", "settings")


class Difference(NamedTuple):
    """One thing that is not the same everywhere.

    Attributes:
        kind: One of `KINDS`.
        what: `version`, `registry`, or a setting's variable.
        workers: Those that have it otherwise than most; all of them where there are no most.
        among: How many have told.
    """

    kind: str
    what: str
    workers: tuple[str, ...]
    among: int


def find_differences(workers: Iterable[WorkerStatus]) -> tuple[Difference, ...]:
    """Compare what living workers say of themselves; what one does not tell is not compared."""
    told: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    settings: dict[str, dict[str, str]] = {}
    for worker in filter(lambda worker: worker.is_alive, workers):
        for kind in ("version", "registry"):
            if isinstance(value := worker.about.get(kind), str):
                told[kind, kind][worker.worker] = value
        if isinstance(of := worker.about.get("settings"), dict):
            settings[worker.worker] = {str(name): str(value) for name, value in of.items()}
    for name in {name for of in settings.values() for name in of}:
        told["settings", name] = {worker: of.get(name, "by default") for worker, of in settings.items()}
    return tuple(
        Difference(kind, what, strange, len(values))
        for (kind, what), values in sorted(told.items(), key=lambda item: (KINDS.index(item[0][0]), item[0]))
        if (strange := tuple(_find_strange(values)))
    )


def _find_strange(values: dict[str, str]) -> Iterator[str]:
    counted = Counter(values.values()).most_common(2)
    if len(counted) < 2:
        return
    (usual, most), (_, second) = counted
    for worker in sorted(values):
        if values[worker] != usual or most == second:
            yield worker
