"""A part that would not fit says so before it begins."""

from __future__ import annotations

import pytest
from benchmarks.stage.room import NoRoom, check_room

GB = 1e9


def test_what_fits_is_let_through():
    check_room(count=1_000_000, size_bytes=2600, free_memory_bytes=4.3 * GB, free_disk_bytes=3.7 * GB)


@pytest.mark.parametrize(
    ("memory", "disk", "what"), [(4.2 * GB, 100 * GB, "memory"), (100 * GB, 3.5 * GB, "disk")]
)
def test_what_does_not_fit_is_refused_in_words(memory, disk, what):
    with pytest.raises(NoRoom) as refused:
        check_room(count=1_000_000, size_bytes=2600, free_memory_bytes=memory, free_disk_bytes=disk)
    assert refused.value.what == what
    assert f"GB of {what}" in str(refused.value)


def test_the_refusal_says_what_it_takes_what_there_is_and_what_to_do():
    with pytest.raises(NoRoom) as refused:
        check_room(count=1_000_000, size_bytes=2600, free_memory_bytes=2 * GB, free_disk_bytes=9 * GB)
    assert str(refused.value) == (
        "1,000,000 ended records need 3.2 GB of memory; of the 2.0 GB that are free, 1 GB stays so. "
        "--ended asks for fewer."
    )
