"""What an entry of the outbox says, and how much a line should worry whoever reads logs."""

from __future__ import annotations

import json

import pytest

from transfer_tasks.outcome import State
from transfer_worker.audit.outbox import AuditEvent, MalformedEntry, entry_of, level_of, read_lines

ENDINGS = {
    State.SUBMITTED: "info",
    State.CANCELLED: "info",
    State.REJECTED: "warning",
    State.FAILED: "error",
    State.EXPIRED: "error",
    State.UNKNOWN: "error",
}


def test_each_ending_has_a_level():
    assert {state for state in State if not state.is_open} == set(ENDINGS)


@pytest.mark.parametrize(("state", "level"), ENDINGS.items())
def test_an_ending_that_is_none_to_be_glad_of_is_no_information(state, level):
    assert level_of({"event": "transfer.finished", "state": state.value}) == level


@pytest.mark.parametrize("state", [None, "", "nonsense", 1, True])
def test_an_ending_that_nobody_understands_is_an_error(state):
    assert level_of({"event": "transfer.finished", "state": state}) == "error"


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (AuditEvent.ACCEPTED, "info"),
        (AuditEvent.RETRY_SCHEDULED, "info"),
        (AuditEvent.RESOLVED, "info"),
        (AuditEvent.REFUSED, "warning"),
        (AuditEvent.PAUSED, "warning"),
        (AuditEvent.QUARANTINED, "warning"),
        (AuditEvent.MOVED_TWICE, "error"),
        ("whatever comes later", "info"),
    ],
)
def test_what_people_should_look_at_stands_out(event, level):
    assert level_of({"event": str(event)}) == level


def entry(*parts: str) -> dict[str, str]:
    return {"line": json.dumps(parts)}


FIRST = (
    "transfer.claimed",
    "1700000000000",
    "t",
    "c",
    "c:1",
    "1",
    "0",
    '{"destination":"support"}',
    '{"waited_ms":3}',
)


def test_a_second_line_of_an_entry_is_as_the_first_but_for_its_own_words():
    claimed, started = read_lines("17-0", entry(*FIRST, "transfer.attempt_started", "1", '{"worker":"w"}'))

    assert (claimed["event"], claimed["attempt"], claimed["waited_ms"]) == ("transfer.claimed", 0, 3)
    assert (started["event"], started["attempt"], started["worker"]) == ("transfer.attempt_started", 1, "w")
    assert "waited_ms" not in started
    assert (claimed["event_id"], started["event_id"]) == ("17-0", "17-0.2")
    assert {entry_of(line["event_id"]) for line in (claimed, started)} == {"17-0"}
    same = ("timestamp", "transfer_id", "call_id", "idempotency_key", "hop", "destination")
    assert [claimed[name] for name in same] == [started[name] for name in same]


@pytest.mark.parametrize("behind", [("transfer.attempt_started",), ("transfer.attempt_started", "1")])
def test_an_entry_whose_second_line_is_not_whole_is_malformed(behind):
    with pytest.raises(MalformedEntry):
        read_lines("17-0", entry(*FIRST, *behind))
