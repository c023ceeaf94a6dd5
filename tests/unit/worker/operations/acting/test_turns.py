"""No faster than asked for, on a clock of our own."""

from __future__ import annotations

from transfer_worker.operations.acting.turns import Turn, take_turns


def test_no_more_are_acted_on_in_a_second_than_was_asked_for():
    clock, acted_at = [100.0], []

    def act(record):
        acted_at.append(clock[0])
        clock[0] += 0.3 if record == "slow" else 0.01
        return Turn(record, is_done=True, told="")

    def sleep(seconds):
        assert seconds > 0
        clock[0] += seconds

    records = ["a", "b", "slow", "c", "d"]
    turns = list(take_turns(records, act, per_second=5, now=lambda: clock[0], sleep=sleep))

    assert [turn.record for turn in turns] == records
    # After the slow one nothing is hurried.
    assert [round(at - 100, 3) for at in acted_at] == [0, 0.2, 0.4, 0.7, 0.9]
