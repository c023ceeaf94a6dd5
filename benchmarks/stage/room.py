"""Whether there is room for what a part asks for."""

RESERVE_BYTES = 1_000_000_000
"""What stays free for everybody else."""

_WITH_TABLES = 1.25
"""Redis's tables of keys, and what its allocator loses, in parts of what the keys hold."""


class NoRoom(RuntimeError):
    """Redis would need more than this machine has.

    Attributes:
        what: `memory` or `disk`.
        needed_bytes: What it would take.
        free_bytes: What there is.
    """

    def __init__(self, *, count: int, what: str, needed_bytes: float, free_bytes: float) -> None:
        self.what, self.needed_bytes, self.free_bytes = what, needed_bytes, free_bytes
        super().__init__(
            f"{count:,} ended records need {needed_bytes / 1e9:.1f} GB of {what}; of the "
            f"{free_bytes / 1e9:.1f} GB that are free, {RESERVE_BYTES / 1e9:.0f} GB stays so. "
            "--ended asks for fewer."
        )


def check_room(*, count: int, size_bytes: int, free_memory_bytes: float, free_disk_bytes: float) -> None:
    """Raise `NoRoom` where so many records of this size don't fit, in memory or as an append-only file."""
    needed = {"memory": count * size_bytes * _WITH_TABLES, "disk": count * size_bytes}
    for what, free in (("memory", free_memory_bytes), ("disk", free_disk_bytes)):
        if needed[what] > free - RESERVE_BYTES:
            raise NoRoom(count=count, what=what, needed_bytes=needed[what], free_bytes=free)
