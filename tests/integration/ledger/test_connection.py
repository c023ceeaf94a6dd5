"""The second fact of a transfer: what is reported after it was accepted, whenever it comes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from support import wait_until
from support.ledger_bench import LONG_MS, disbelieve, finish, outcome_of, start
from transfer_tasks.connection import ConnectionReason, ConnectionStatus, ReportSource, ReportVerdict
from transfer_tasks.ledger.verdicts import Claim, Ended, Lost
from transfer_tasks.outcome import Reason, State

CALL = "call-1"
QUEUED = json.dumps({"message": "queued", "request_id": "r-1"})


def answered(bench, *, call_id=CALL, request_id="r-1", **asked):
    """Bring a transfer to where the platform has accepted it, and named its request."""
    claim = start(bench, call_id=call_id, **asked)
    bench.end(claim, answer_json=json.dumps({"message": "queued", "request_id": request_id}))
    return claim.transfer_id


def seen(bench, transfer_id):
    connection = bench.record(transfer_id).connection
    return connection and (connection.status, connection.reason, connection.source)


# --- a final beats an interim, the first final stands


def test_ringing_and_then_connected_are_on_record_with_their_source_times_and_lines(bench):
    transfer_id = answered(bench)

    rang = bench.report("ringing", CALL, "r-1")
    assert (rang.verdict, rang.transfer_id, rang.state) == (
        ReportVerdict.MATCHED,
        transfer_id,
        State.SUBMITTED,
    )
    assert rang.connection.status is ConnectionStatus.RINGING
    picked_up = bench.report("connected", CALL, "r-1", source="webhook")

    connection = bench.record(transfer_id).connection
    assert picked_up.connection == connection
    assert (connection.status, connection.source) == (ConnectionStatus.CONNECTED, ReportSource.WEBHOOK)
    assert 0 < connection.ringing_at_ms <= connection.heard_at_ms
    assert bench.events(transfer_id)[-3:] == ["finished", "ringing", "connected"]
    assert bench.record(transfer_id).state is State.SUBMITTED


def test_not_connected_keeps_its_reason_and_that_the_caller_is_gone(bench):
    transfer_id = answered(bench)
    bench.report("not_connected", CALL, "r-1", reason="no_answer", caller_gone=True)

    connection = bench.record(transfer_id).connection
    assert (connection.reason, connection.caller_gone) == (ConnectionReason.NO_ANSWER, True)
    line = bench.audit(transfer_id)[-1]
    assert (line["event"], line["reason"], line["caller_gone"], line["source"]) == (
        "transfer.not_connected",
        "no_answer",
        True,
        "room",
    )


def test_an_interim_after_a_final_changes_no_verdict_and_writes_no_line(bench):
    transfer_id = answered(bench)
    bench.report("connected", CALL, "r-1")

    late = bench.report("ringing", CALL, "r-1")

    assert late.verdict is ReportVerdict.REPEATED
    assert late.connection.status is ConnectionStatus.CONNECTED
    assert late.connection.ringing_at_ms > 0
    assert bench.events(transfer_id)[-1] == "connected"


@pytest.mark.parametrize("status", ["ringing", "connected", "not_connected"])
def test_a_report_that_comes_twice_is_one(bench, status):
    transfer_id = answered(bench)
    bench.report(status, CALL, "r-1")
    before = bench.record(transfer_id), bench.events(transfer_id)

    assert bench.report(status, CALL, "r-1").verdict is ReportVerdict.REPEATED
    assert (bench.record(transfer_id), bench.events(transfer_id)) == before


def test_the_first_final_stands_and_a_contradiction_is_counted_once_and_shown(bench):
    transfer_id = answered(bench)
    bench.report("connected", CALL, "r-1")

    said = [bench.report("not_connected", CALL, "r-1", source="webhook", reason="busy") for _ in range(3)]

    assert [result.verdict for result in said] == [
        ReportVerdict.CONTRADICTION,
        ReportVerdict.REPEATED,
        ReportVerdict.REPEATED,
    ]
    connection = bench.record(transfer_id).connection
    assert connection.status is ConnectionStatus.CONNECTED
    (other,) = connection.contradictions
    assert (other.status, other.reason, other.source) == (
        ConnectionStatus.NOT_CONNECTED,
        ConnectionReason.BUSY,
        ReportSource.WEBHOOK,
    )
    assert bench.record(transfer_id).state is State.SUBMITTED
    assert "not_connected" not in bench.events(transfer_id)


def test_a_second_word_of_the_same_adds_the_reason_that_the_first_one_left_out(bench):
    transfer_id = answered(bench)
    bench.report("not_connected", CALL, "r-1", source="webhook")
    bench.report("not_connected", CALL, "r-1", reason="busy", caller_gone=True)

    assert seen(bench, transfer_id) == ("not_connected", "busy", "webhook")
    assert bench.record(transfer_id).connection.caller_gone


# --- what it settles


@pytest.mark.parametrize("source", ["room", "platform_api", "webhook"])
@pytest.mark.parametrize("status", ["queued", "ringing", "connected", "not_connected"])
def test_any_report_of_the_platform_settles_an_unknown_as_submitted(bench, source, status):
    claim = start(bench, call_id=CALL)
    bench.lose_answer(claim)

    result = bench.report(status, CALL, "r-9", source=source)

    assert (result.verdict, result.state) == (ReportVerdict.MATCHED, State.SUBMITTED)
    record = bench.record(claim.transfer_id)
    assert (record.state, record.reason, record.source) == (
        State.SUBMITTED,
        Reason.TRANSFER_CONFIRMED,
        "platform",
    )
    assert record.request_id == "r-9"
    assert bench.index("unknown") == set()
    assert "resolved" in bench.events(claim.transfer_id)


def test_a_session_settles_nothing_by_a_report(bench):
    claim = start(bench, call_id=CALL)
    bench.lose_answer(claim)
    assert bench.report("not_connected", CALL, source="session").verdict is ReportVerdict.MATCHED
    assert bench.record(claim.transfer_id).state is State.UNKNOWN


def test_an_engineer_settles_an_unknown_and_says_more_by_the_same_word(bench):
    claim = start(bench, call_id=CALL)
    bench.lose_answer(claim)
    bench.report("connected", transfer_id=claim.transfer_id, source="operator", detail="ana: heard it")

    record = bench.record(claim.transfer_id)
    assert (record.state, record.source) == (State.SUBMITTED, "operator")
    assert "ana: heard it" in record.detail
    assert seen(bench, claim.transfer_id) == ("connected", None, "operator")


def test_what_the_platform_says_corrects_what_was_believed_instead(bench):
    claim = disbelieve(bench, call_id=CALL)
    later = start(bench, call_id=CALL, destination="sales")
    bench.end(later)

    # Two may be meant: nobody knows whose it is, until one of them is named.
    assert bench.report("connected", CALL, "r-1").verdict is ReportVerdict.UNMATCHED
    bench.report("connected", CALL, source="webhook", transfer_id=claim.transfer_id)

    assert bench.record(claim.transfer_id).state is State.SUBMITTED
    assert "call.moved_twice" in {line["event"] for line in bench.audit()}


@pytest.mark.parametrize("status", ["ringing", "connected", "not_connected"])
def test_a_report_while_the_answer_is_out_waits_for_it_and_no_attempt_follows(bench, status):
    claim = start(bench, call_id=CALL)
    bench.report(status, CALL, "r-1")
    assert bench.record(claim.transfer_id).state is State.SENDING

    ended = bench.retry(claim)

    assert (outcome_of(ended).state, outcome_of(ended).reason) == (
        State.SUBMITTED,
        Reason.TRANSFER_CONFIRMED,
    )
    assert isinstance(bench.begin(claim, attempt=2), Lost)
    assert seen(bench, claim.transfer_id)[0] == status
    assert bench.record(claim.transfer_id).attempt_notes[0]["reason"] == "platform_unavailable"
    assert bench.retry(claim).outcome.state is State.SUBMITTED  # repeated


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.UNKNOWN, Reason.ANSWER_LOST),
        (State.FAILED, Reason.PLATFORM_UNAVAILABLE),
        (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM),
    ],
)
def test_whatever_the_answer_then_is_the_platform_has_the_request(bench, state, reason):
    claim = start(bench, call_id=CALL)
    bench.report("ringing", CALL, "r-1")
    assert outcome_of(bench.end(claim, state, reason)).state is State.SUBMITTED


def test_a_report_between_two_attempts_ends_the_transfer_before_the_next_one(bench):
    claim = start(bench, call_id=CALL)
    bench.retry(claim)

    assert bench.report("ringing", CALL, "r-1").state is State.SUBMITTED

    lost = bench.begin(claim, attempt=2)
    assert isinstance(lost, Lost)
    assert lost.outcome.reason is Reason.TRANSFER_CONFIRMED
    assert bench.index("in_flight") == set()


def test_a_report_of_a_request_whose_worker_died_is_what_recovery_goes_by(bench):
    claim = start(bench, call_id=CALL)
    bench.report("ringing", CALL, "r-1")
    bench.bury()
    bench.recover()

    record = bench.record(claim.transfer_id)
    assert (record.state, record.reason, record.source) == (
        State.SUBMITTED,
        Reason.TRANSFER_CONFIRMED,
        "platform",
    )
    assert bench.index("in_flight") == set()
    assert bench.queued() == [claim.transfer_id]  # its own message; no other


def test_a_refusal_of_this_very_request_leaves_the_report_to_another(bench):
    claim = start(bench, call_id=CALL)
    bench.report("ringing", CALL, "r-1")
    bench.end(claim, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, http_status=409)

    record = bench.record(claim.transfer_id)
    assert (record.state, record.connection, record.request_id) == (State.REJECTED, None, "")


# --- whose it is


def test_a_record_without_an_id_takes_that_of_the_first_report_and_later_ones_go_by_it(bench):
    first = finish(bench, call_id=CALL)
    bench.report("ringing", CALL, "r-1")
    bench.report("not_connected", CALL, "r-1", reason="busy")
    second = finish(bench, call_id=CALL, destination="sales")

    assert bench.report("ringing", CALL, "r-2").transfer_id == second
    assert bench.report("not_connected", CALL, "r-1", reason="busy").transfer_id == first
    assert bench.report("connected", request_id="r-2").transfer_id == second
    assert (seen(bench, first)[0], seen(bench, second)[0]) == ("not_connected", "connected")


def test_of_two_that_may_be_meant_none_is_guessed(bench):
    first, second = (finish(bench, call_id=CALL, destination=name) for name in ("support", "sales"))

    assert bench.report("connected", CALL, "r-1").verdict is ReportVerdict.UNMATCHED
    assert seen(bench, first) is seen(bench, second) is None


def test_a_report_of_a_request_that_is_not_ours_is_matched_to_nothing(bench):
    transfer_id = answered(bench)

    assert bench.report("connected", CALL, "r-of-others").verdict is ReportVerdict.UNMATCHED
    assert bench.report("connected", "another-call", "r-2").verdict is ReportVerdict.UNMATCHED
    assert bench.report("connected", "another-call", "r-1").verdict is ReportVerdict.UNMATCHED
    assert seen(bench, transfer_id) is None


@pytest.mark.parametrize("bring", ["accept", "claim"])
def test_what_has_sent_nothing_is_never_meant(bench, bring):
    transfer_id = bench.accept(call_id=CALL).transfer_id
    if bring == "claim":
        bench.claim(transfer_id)
    assert bench.report("ringing", CALL, "r-1").verdict is ReportVerdict.UNMATCHED
    assert bench.report("ringing", transfer_id=transfer_id).verdict is ReportVerdict.REFUSED


def test_a_report_that_came_before_the_answer_named_its_request_is_matched_then(bench):
    first = finish(bench, call_id=CALL)
    claim = start(bench, call_id=CALL, destination="sales")
    assert bench.report("ringing", CALL, "r-2").verdict is ReportVerdict.UNMATCHED
    assert bench.report("connected", CALL, "r-2").verdict is ReportVerdict.UNMATCHED

    bench.end(claim, answer_json=json.dumps({"request_id": "r-2"}))

    assert seen(bench, claim.transfer_id)[0] == "connected"
    assert seen(bench, first) is None
    assert bench.client.exists(bench.keys.unmatched(CALL)) == 0


def test_an_answer_that_names_another_request_gives_back_what_was_not_its_own(bench):
    claim = start(bench, call_id=CALL)
    bench.report("not_connected", CALL, "r-of-others", reason="busy")
    bench.end(claim, answer_json=QUEUED)

    assert bench.record(claim.transfer_id).request_id == "r-1"
    assert seen(bench, claim.transfer_id) is None
    assert bench.report("connected", CALL, "r-1").transfer_id == claim.transfer_id


def test_what_was_heard_before_a_request_began_is_not_of_it(bench):
    first = answered(bench)
    bench.report("connected", CALL, "r-of-others")
    pass_a_moment(bench)
    second = finish(bench, call_id=CALL, destination="sales")

    bench.report("not_connected", CALL, "r-1", reason="busy")

    assert seen(bench, first)[0] == "not_connected"
    assert seen(bench, second) is None


def pass_a_moment(bench):
    """Return when Redis's clock shows another millisecond."""
    seconds, micros = bench.client.time()
    now = seconds, micros // 1000
    wait_until(lambda: (bench.client.time()[0], bench.client.time()[1] // 1000) != now)


def test_a_request_that_was_spoken_of_before_ours_began_is_another_s_for_ever(bench):
    bench.report("ringing", CALL, "r-of-others")
    pass_a_moment(bench)
    transfer_id = finish(bench, call_id=CALL)

    later = bench.report("not_connected", CALL, "r-of-others", reason="busy")

    assert later.verdict is ReportVerdict.UNMATCHED
    assert seen(bench, transfer_id) is None
    assert bench.report("connected", CALL, "r-1").transfer_id == transfer_id


def test_a_request_that_a_409_has_named_is_not_that_of_a_later_transfer(bench):
    refused = start(bench, call_id=CALL)
    answer = json.dumps({"error": "transfer_in_progress", "request_id": "r-of-others"})
    bench.end(refused, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, http_status=409, answer_json=answer)
    pass_a_moment(bench)
    transfer_id = finish(bench, call_id=CALL, destination="sales")

    said = bench.report("connected", CALL, "r-of-others", source="platform_api")

    assert said.verdict is ReportVerdict.UNMATCHED
    assert bench.report("not_connected", CALL, "r-1", reason="busy").transfer_id == transfer_id


def test_what_a_refused_attempt_has_taken_for_its_own_is_not_that_of_the_next_transfer(bench):
    claim = start(bench, call_id=CALL)
    bench.report("queued", CALL, "r-of-others", source="platform_api")
    bench.end(claim, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, http_status=409)
    pass_a_moment(bench)
    transfer_id = finish(bench, call_id=CALL, destination="sales")

    assert bench.report("connected", CALL, "r-of-others").verdict is ReportVerdict.UNMATCHED
    assert seen(bench, transfer_id) is None


@pytest.mark.parametrize(("seconds", "is_ours"), [(-60, False), (-5, True), (60, True)])
def test_what_happened_before_a_request_began_is_not_of_it_whenever_it_is_heard(bench, seconds, is_ours):
    claim = start(bench, call_id=CALL)
    bench.end(claim)
    begun_ms = int(bench.client.hget(bench.keys.record(claim.transfer_id), "begun_ms"))
    at = datetime.fromtimestamp(begun_ms / 1000 + seconds, UTC)

    said = bench.report("connected", CALL, "r-1", at=at)

    assert (said.verdict is ReportVerdict.MATCHED) == is_ours
    assert (seen(bench, claim.transfer_id) is not None) == is_ours


def test_unmatched_reports_are_bounded_and_kept_once_each(bench):
    for number in range(50):
        bench.report("connected", CALL, f"r-{number % 30}")
    assert bench.client.llen(bench.keys.unmatched(CALL)) == 20
    for _ in range(5):
        bench.report("connected", CALL, "r-19")
    assert bench.client.llen(bench.keys.unmatched(CALL)) == 20


# --- repeats


def ask(bench, destination="support", **options):
    return bench.accept(call_id=CALL, destination=destination, repeat_window_ms=0, **options)


def test_while_the_target_rings_the_same_is_a_repeat_and_another_is_in_progress(bench):
    transfer_id = answered(bench)
    assert ask(bench, "sales").verdict == "accepted"
    bench.cancel(bench.ledger.read_call(CALL)[-1].transfer_id)

    other = answered(bench, call_id="call-2", request_id="r-2")
    bench.report("ringing", "call-2", "r-2")
    for destination, verdict in (("support", "repeat"), ("sales", "in_progress")):
        reply = bench.accept(call_id="call-2", destination=destination, repeat_window_ms=0)
        assert (reply.verdict, reply.transfer_id) == (verdict, other)
    assert transfer_id != other


def test_nobody_waits_longer_than_it_can_ring(bench):
    answered(bench)
    bench.report("ringing", CALL, "r-1", ring_seconds=0)
    assert ask(bench, "sales").verdict == "accepted"


def test_a_second_word_of_ringing_prolongs_nothing(bench):
    answered(bench)
    bench.report("ringing", CALL, "r-1", ring_seconds=0)
    bench.report("ringing", CALL, "r-1", source="webhook", ring_seconds=LONG_MS)
    assert ask(bench, "sales").verdict == "accepted"


@pytest.mark.parametrize("source", ["room", "platform_api", "webhook"])
def test_not_connected_of_the_platform_ends_the_window_at_once(bench, source):
    answered(bench)
    bench.report("ringing", CALL, "r-1")
    bench.report("not_connected", CALL, "r-1", source=source, reason="busy")
    assert bench.accept(call_id=CALL, repeat_window_ms=LONG_MS).verdict == "accepted"


@pytest.mark.parametrize("source", ["session", "operator"])
def test_nobody_else_ends_the_window(bench, source):
    transfer_id = answered(bench)
    bench.report("ringing", CALL, "r-1")
    bench.report("not_connected", source=source, transfer_id=transfer_id)
    assert bench.accept(call_id=CALL, repeat_window_ms=LONG_MS).verdict == "repeat"
    assert ask(bench, "sales").verdict == "in_progress"

    bench.report("not_connected", CALL, "r-1")  # the platform says the same
    assert ask(bench, "sales").verdict == "accepted"


def test_after_connected_all_is_as_without_a_report(bench):
    answered(bench)
    bench.report("ringing", CALL, "r-1")
    bench.report("connected", CALL, "r-1")
    assert bench.accept(call_id=CALL, repeat_window_ms=LONG_MS).verdict == "repeat"
    assert ask(bench, "sales").verdict == "accepted"


# --- who waits


def test_whoever_waits_is_woken(bench):
    channel = bench.keys.reply("listener")
    claim = bench.claim(bench.accept(call_id=CALL, reply_to=channel).transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    assert isinstance(bench.end(claim, answer_json=QUEUED), Ended)
    with bench.client.pubsub() as words:
        words.subscribe(channel)
        assert words.get_message(timeout=30)["type"] == "subscribe"
        bench.report("connected", CALL, "r-1")
        assert words.get_message(timeout=30)["data"] == claim.transfer_id
