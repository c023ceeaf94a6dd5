"""How much an audit line should worry whoever reads logs."""

from __future__ import annotations

import pytest

from transfer_tasks.outcome import State
from transfer_worker.audit.outbox import AuditEvent, level_of

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
