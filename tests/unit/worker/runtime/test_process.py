"""What is done for a message before it gets a slot."""

from __future__ import annotations

from types import SimpleNamespace

from transfer_worker.runtime.process import _turn_away


def test_without_a_flood_nobody_reads_a_message_before_it_has_a_slot():
    door = SimpleNamespace(is_flooded=False)
    assert _turn_away(door, [object(), object()]) == [False, False]
