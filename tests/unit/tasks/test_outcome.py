"""Endings and reasons: closed, complete, and the same after a trip through JSON."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from transfer_tasks.ledger.verdicts import parse_outcome
from transfer_tasks.outcome import GUIDE, OPEN_STATES, Reason, State, TransferOutcome

ENDINGS = set(State) - OPEN_STATES


def test_three_states_are_open_and_the_rest_are_endings():
    assert {State.WAITING, State.CLAIMED, State.SENDING} == OPEN_STATES
    assert {state for state in State if state.is_open} == OPEN_STATES


def test_every_reason_has_a_guide_and_every_ending_a_reason():
    assert set(GUIDE) == set(Reason)
    assert {guide.state for guide in GUIDE.values()} == ENDINGS


@pytest.mark.parametrize("reason", Reason)
def test_a_guide_says_what_it_means_and_what_to_do(reason):
    guide = GUIDE[reason]
    assert guide.meaning.endswith(".")
    assert guide.next_step.endswith(".")
    if guide.state in {State.FAILED, State.UNKNOWN}:
        assert guide.next_step != "Nothing."


@pytest.mark.parametrize("reason", [reason for reason in Reason if GUIDE[reason].state is State.UNKNOWN])
def test_what_is_unknown_is_neither_promised_nor_offered_again(reason):
    guide = GUIDE[reason]
    assert (guide.say, guide.may_retry, guide.may_try_other) == (None, False, False)


@pytest.mark.parametrize("reason", [reason for reason in Reason if GUIDE[reason].state is State.SUBMITTED])
def test_what_was_submitted_is_not_asked_for_again(reason):
    assert not GUIDE[reason].may_retry
    assert not GUIDE[reason].may_try_other


@pytest.mark.parametrize("reason", [reason for reason in Reason if GUIDE[reason].say])
def test_what_is_said_to_the_caller_is_a_sentence_without_promises_that_nobody_can_keep(reason):
    say = GUIDE[reason].say
    assert say is not None
    assert say[-1] == "."
    assert "connected" not in say
    if GUIDE[reason].state is not State.SUBMITTED:
        assert "sorry" in say


outcomes = st.builds(
    TransferOutcome,
    transfer_id=st.uuids().map(str),
    call_id=st.uuids().map(str) | st.just(""),
    state=st.sampled_from(sorted(ENDINGS)),
    reason=st.sampled_from(list(Reason)),
    attempts=st.integers(0, 20),
    hop=st.integers(1, 1000),
    source=st.sampled_from(["worker", "session", "recovery"]),
    http_status=st.none() | st.integers(100, 599),
    detail=st.text(),
    ended_at_ms=st.integers(0, 2**42),
)


@given(outcomes)
def test_an_outcome_is_the_same_after_a_trip_through_json(outcome):
    text = outcome.to_json()
    assert "\n" not in text
    assert parse_outcome(text) == outcome
    assert json.loads(text) == outcome.as_dict()
    assert type(parse_outcome(text).state) is State


@given(outcomes)
def test_an_outcome_knows_its_guide(outcome):
    assert outcome.guide is GUIDE[outcome.reason]
