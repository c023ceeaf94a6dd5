"""The judge of the second fact: a course that is on record as it was, and each way in which it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaos.auditor import Auditor
from chaos.histories import CALL, ONE, make_history, make_line, make_record, make_unknown
from chaos.history import Course

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.history import History

OWN, OTHERS = "request-1", "request-2"


def make_told(*, contradicts: bool = False) -> History:
    """One transfer that nobody picked up, and of which a word arrived."""
    history = make_history()
    line = make_line(5, "not_connected", 2000)
    history.lines.append(line)
    history.stream_ids.add(line.event_id)
    history.printed_ids.add(line.event_id)
    told = {"matched", "contradiction"} if contradicts else {"matched"}
    history.courses[CALL] = Course(
        call_id=CALL, request_id=OWN, status="failed", has_another=False, told=frozenset(told)
    )
    put_on_record(history, contradictions=[{"status": "connected", "source": "room"}] if contradicts else [])
    return history


def put_on_record(
    history: History, *, status: str = "not_connected", request_id: str = OWN, **fields: object
) -> None:
    connection = {"status": status, "source": "room", **fields}
    history.records[ONE] = make_record(request_id=request_id, connection=json.dumps(connection))


def findings(history: History) -> set[str]:
    return {finding.invariant for finding in Auditor(history).judge().findings}


def two_final_lines(history: History) -> None:
    line = make_line(6, "connected", 3000)
    history.lines.append(line)
    history.stream_ids.add(line.event_id)
    history.printed_ids.add(line.event_id)


def no_final_line(history: History) -> None:
    history.stream_ids.discard(history.lines.pop().event_id)


def a_later_word_on_record(history: History) -> None:
    put_on_record(history, status="connected")


def a_word_that_was_lost(history: History) -> None:
    no_final_line(history)
    history.records[ONE] = make_record(request_id=OWN)


def another_transfers_word(history: History) -> None:
    put_on_record(history, status="connected", request_id=OTHERS)


def a_verdict_on_what_never_rang(history: History) -> None:
    history.courses[CALL] = replace(history.courses[CALL], request_id="", status="")
    put_on_record(history, status="connected", request_id="")


@pytest.mark.parametrize("contradicts", [False, True])
def test_a_course_that_is_on_record_as_it_was_is_not_blamed(contradicts: bool) -> None:
    assert findings(make_told(contradicts=contradicts)) == set()


@pytest.mark.parametrize(
    "crime",
    [
        two_final_lines,
        no_final_line,
        a_later_word_on_record,
        a_word_that_was_lost,
        another_transfers_word,
        a_verdict_on_what_never_rang,
    ],
)
def test_each_false_record_is_condemned(crime: Callable[[History], None]) -> None:
    history = make_told()
    crime(history)

    assert "connections" in findings(history)


def test_a_contradiction_that_nothing_tells_of_is_condemned() -> None:
    history = make_told(contradicts=True)
    put_on_record(history)

    assert "connections" in findings(history)


def test_an_unknown_that_a_word_did_not_settle_is_condemned() -> None:
    history = make_unknown()
    told = make_told()
    history.courses = told.courses
    record = history.records[ONE]
    history.records[ONE] = replace(record, request_id=OWN, connection=told.records[ONE].connection)

    assert "connections" in findings(history)


def test_a_word_of_another_transfer_is_not_blamed_on_a_record_that_could_not_tell() -> None:
    history = make_told()
    history.courses[CALL] = replace(history.courses[CALL], has_another=True)
    another_transfers_word(history)

    assert findings(history) == set()
