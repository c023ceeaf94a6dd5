"""Each step of the ledger on a real Redis: the replies its script documents, and what it leaves behind."""

from __future__ import annotations

import json
import multiprocessing
import time
import uuid
from dataclasses import replace

import pytest

from support import FaultProxy, keys_without_ttl, wait_until
from support.ledger_bench import LONG_MS, LedgerBench
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.script import load_script
from transfer_tasks.ledger.verdicts import (
    Begun,
    Claim,
    Ended,
    Lost,
    Missing,
    Open,
    Recovered,
    TryAgain,
    parse_outcome,
)
from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_tasks.redis.connection import connect

NOTHING = Recovered(requeued=0, given_up=0, expired=0, gone_workers=0)


@pytest.fixture
def bench(redis_url):
    """The steps, and at the end the key-leak check."""
    with connect(redis_url, timeout_seconds=2) as client:
        yield LedgerBench(client)
        assert keys_without_ttl(client) == []


@pytest.fixture
def waiting(bench) -> str:
    return bench.accept().transfer_id


@pytest.fixture
def claim(bench, waiting) -> Claim:
    claim = bench.claim(waiting)
    assert isinstance(claim, Claim)
    return claim


@pytest.fixture
def sending(bench, claim) -> Claim:
    assert isinstance(bench.begin(claim), Begun)
    return claim


@pytest.fixture
def given_up(bench, sending) -> Claim:
    """A claim whose transfer was given up as unknown while its worker was held up."""
    bench.bury("w1")
    assert bench.recover().given_up == 1
    return sending


def outcome_of(reply: Ended | object) -> TransferOutcome:
    assert isinstance(reply, Ended)
    return reply.outcome


# --- accept


def test_accept_writes_the_record_the_message_and_the_audit_line_in_one_step(bench):
    call_id = str(uuid.uuid4())
    accepted = bench.accept(call_id=call_id)
    assert (accepted.verdict, accepted.hop, accepted.state) == ("accepted", 1, State.WAITING)
    assert accepted.idempotency_key == f"{call_id}:1"
    record = bench.record(accepted.transfer_id)
    assert (record.state, record.call_id, record.attempts) == (State.WAITING, call_id, 0)
    assert record.expires_at_ms - record.accepted_at_ms == LONG_MS
    assert record.outcome is None
    assert bench.queued() == [accepted.transfer_id]
    assert bench.index("waiting") == {accepted.transfer_id}
    (line,) = bench.audit()
    assert (line["event"], line["destination"], line["requested_by"]) == (
        "transfer.accepted",
        "support",
        "test",
    )


def test_accept_without_a_queue_pushes_nothing(bench):
    bench.accept(queue="")
    assert bench.queued() == []


def test_the_same_id_again_changes_nothing_in_any_state(bench, sending):
    before = bench.record(sending.transfer_id)
    again = bench.accept(transfer_id=sending.transfer_id, call_id=sending.call_id)
    assert (again.verdict, again.state) == ("existing", State.SENDING)
    assert bench.record(sending.transfer_id) == before
    assert len(bench.queued()) == 1
    assert bench.events(sending.transfer_id).count("accepted") == 1


@pytest.mark.parametrize("step", ["waiting", "claimed", "sending"])
def test_while_a_transfer_is_open_the_same_request_is_a_repeat_and_another_is_refused(bench, step):
    first = bench.accept(call_id="c")
    if step != "waiting":
        claim = bench.claim(first.transfer_id)
        assert isinstance(claim, Claim)
        if step == "sending":
            bench.begin(claim)
    same, other = bench.accept(call_id="c"), bench.accept(call_id="c", destination="sales")
    assert (same.verdict, same.transfer_id) == ("repeat", first.transfer_id)
    assert (other.verdict, other.transfer_id, other.state) == ("in_progress", first.transfer_id, State(step))
    assert bench.queued() == [first.transfer_id]
    assert bench.events(first.transfer_id)[-2:] == ["repeated", "refused"]


def test_an_unknown_stands_in_the_way_until_it_is_resolved(bench, sending):
    bench.lose_answer(sending)
    assert bench.accept(call_id=sending.call_id).verdict == "repeat"
    assert bench.accept(call_id=sending.call_id, destination="sales").verdict == "in_progress"
    bench.resolve(sending.transfer_id, transferred=False)
    assert bench.accept(call_id=sending.call_id, destination="sales").verdict == "accepted"


def test_a_submitted_request_is_a_repeat_within_the_window_and_only_to_the_same_destination(bench, sending):
    bench.end(sending)
    call_id = sending.call_id
    assert bench.accept(call_id=call_id, repeat_window_ms=LONG_MS).verdict == "repeat"
    elsewhere = bench.accept(call_id=call_id, destination="sales", repeat_window_ms=LONG_MS)
    assert (elsewhere.verdict, elsewhere.hop) == ("accepted", 2)


def test_a_submitted_request_is_new_after_the_window(bench, sending):
    bench.end(sending)
    assert bench.accept(call_id=sending.call_id, repeat_window_ms=0).verdict == "accepted"


@pytest.mark.parametrize("ending", ["failed", "rejected", "cancelled", "expired"])
def test_what_ended_without_a_move_may_be_asked_for_again_at_once(bench, ending):
    first = bench.accept(call_id="c", remaining_ms=-1 if ending == "expired" else LONG_MS)
    if ending == "cancelled":
        bench.cancel(first.transfer_id)
    else:
        claim = bench.claim(first.transfer_id)
        if isinstance(claim, Claim):
            bench.end(claim, State(ending), Reason.REFUSED_BY_PLATFORM)
    assert bench.record(first.transfer_id).state == ending
    again = bench.accept(call_id="c")
    assert (again.verdict, again.hop, again.idempotency_key) == ("accepted", 2, "c:2")


def test_a_key_with_the_same_content_is_the_first_transfer_also_after_it_has_ended(bench):
    first = bench.accept(key="order-1", call_id="c")
    bench.cancel(first.transfer_id)
    again = bench.accept(key="order-1", call_id="c")
    assert (again.verdict, again.transfer_id, again.state) == ("repeat", first.transfer_id, State.CANCELLED)


def test_a_key_with_other_content_is_a_conflict_and_never_a_second_transfer(bench):
    first = bench.accept(key="order-1", call_id="c")
    bench.cancel(first.transfer_id)
    other = bench.accept(key="order-1", call_id="d", destination="sales")
    assert (other.verdict, other.transfer_id, other.idempotency_key) == (
        "conflict",
        first.transfer_id,
        "order-1",
    )
    assert len(bench.queued()) == 1


def test_a_key_that_we_made_is_known_when_it_comes_back_as_a_callers_own(bench):
    first = bench.accept(call_id="c")
    assert first.idempotency_key == "c:1"
    assert bench.client.keys(bench.keys.idempotency("*")) == [], "ours need no index"
    again = bench.accept(call_id="c", key="c:1")
    assert (again.verdict, again.transfer_id) == ("repeat", first.transfer_id)
    other = bench.accept(call_id="d", key="c:1", destination="sales")
    assert (other.verdict, other.transfer_id) == ("conflict", first.transfer_id)
    bench.cancel(first.transfer_id)
    bench.accept(call_id="c", key="c:3")
    bench.cancel(bench.accept(call_id="c", key="c:3").transfer_id)
    third = bench.accept(call_id="c")
    assert third.idempotency_key == f"c:3:{third.transfer_id}"
    again = bench.accept(call_id="c", key=third.idempotency_key)
    assert (again.verdict, again.transfer_id) == ("repeat", third.transfer_id)


@pytest.mark.parametrize("key", ["c:0", "c:01", "c:2", "c:-1", "c:" + 30 * "9", "d:1", ":1", "c:", "c:1x"])
def test_a_key_that_only_resembles_one_of_ours_is_a_new_one(bench, key):
    bench.cancel(bench.accept(call_id="c").transfer_id)
    accepted = bench.accept(call_id="c", key=key)
    assert (accepted.verdict, accepted.idempotency_key) == ("accepted", key)


def test_a_key_that_looks_like_a_later_hop_does_not_end_up_on_two_transfers(bench):
    first = bench.accept(call_id="c", key="c:2")
    bench.cancel(first.transfer_id)
    second = bench.accept(call_id="c", destination="sales")
    assert second.verdict == "accepted"
    assert second.idempotency_key != first.idempotency_key
    assert bench.accept(call_id="c", key="c:2").transfer_id == first.transfer_id


def test_a_repeat_is_heard_by_both_and_each_channel_once(bench, redis_url):
    first = bench.accept(call_id="c", reply_to="reply-1")
    for channel in ("reply-2", "reply-1", "reply-2"):
        bench.accept(call_id="c", reply_to=channel)
    with bench.client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("reply-1", "reply-2")
        assert [listener.get_message(timeout=1) for _ in range(2)] == [None, None]  # both are subscribed
        bench.cancel(first.transfer_id)
        heard = [listener.get_message(timeout=1) for _ in range(2)]
        assert listener.get_message(timeout=0.05) is None
    assert sorted(message["channel"] for message in heard) == ["reply-1", "reply-2"]
    assert all(parse_outcome(message["data"]).state is State.CANCELLED for message in heard)


# --- claim


def test_a_claim_hands_out_everything_that_an_attempt_needs(bench):
    accepted = bench.accept(call_id="c", key="k")
    claim = bench.claim(accepted.transfer_id, worker="w1")
    assert isinstance(claim, Claim)
    assert (claim.token, claim.call_id, claim.idempotency_key) == ("1", "c", "k")
    assert (claim.hop, claim.attempts, json.loads(claim.intent_json)) == (1, 0, {"destination": "support"})
    assert 0 < claim.remaining_ms <= LONG_MS
    record = bench.record(accepted.transfer_id)
    assert (record.state, record.worker) == (State.CLAIMED, "w1")
    assert bench.index("waiting") == set()
    assert bench.index("in_flight") == {accepted.transfer_id}
    line = bench.audit()[-1]
    assert (line["event"], line["worker"]) == ("transfer.claimed", "w1")
    assert line["waited_ms"] >= 0


def test_the_same_claim_again_gets_the_same_token_and_another_is_told_who_holds_it(bench, waiting):
    first, again = bench.claim(waiting, claim_id="a"), bench.claim(waiting, claim_id="a")
    assert isinstance(first, Claim)
    assert isinstance(again, Claim)
    assert again.token == first.token
    assert bench.claim(waiting, worker="w2") == Open(State.CLAIMED, worker="w1")
    assert bench.events(waiting) == ["accepted", "claimed"]


def test_nobody_claims_what_is_being_sent(bench, sending):
    assert bench.claim(sending.transfer_id, worker="w2") == Open(State.SENDING, worker="w1")


def test_a_claim_of_what_has_ended_returns_the_outcome(bench, sending):
    bench.end(sending)
    assert outcome_of(bench.claim(sending.transfer_id)).state is State.SUBMITTED


def test_a_claim_after_the_deadline_ends_it_as_expired_and_names_no_attempt(bench):
    accepted = bench.accept(remaining_ms=-1)
    outcome = outcome_of(bench.claim(accepted.transfer_id))
    assert (outcome.state, outcome.reason, outcome.attempts) == (State.EXPIRED, Reason.DEADLINE_PASSED, 0)
    assert bench.index("waiting") == bench.index("in_flight") == set()


def test_what_is_not_on_record_is_missing_for_every_step(bench, claim):
    nobody = Claim(str(uuid.uuid4()), "1", "c", "k", 1, 0, 1, "{}")
    assert bench.claim(nobody.transfer_id) == Missing()
    assert bench.expire(nobody.transfer_id) == Missing()
    assert bench.resolve(nobody.transfer_id, transferred=True) == Missing()
    assert bench.cancel(nobody.transfer_id) == (False, Missing())
    assert bench.begin(nobody) == Lost("missing", None)
    assert bench.end(nobody) == Lost("missing", None)
    assert bench.ledger.read(nobody.transfer_id) is None


def test_a_claim_that_was_taken_away_is_not_handed_out_again(bench, waiting):
    assert isinstance(bench.claim(waiting, claim_id="a"), Claim)
    bench.bury("w1")
    assert bench.recover().requeued == 1
    assert bench.claim(waiting, claim_id="a") == Open(State.WAITING, worker="w1")
    assert isinstance(bench.claim(waiting, claim_id="b"), Claim)


def test_a_forked_process_asks_over_a_connection_of_its_own(bench, waiting):
    def connections_made() -> int:
        return int(bench.client.info("stats")["total_connections_received"])

    for _ in range(2):  # the first may load the script, over another connection
        assert isinstance(bench.expire(waiting), Open)
    before = connections_made()
    child = multiprocessing.get_context("fork").Process(target=bench.expire, args=(waiting,))
    child.start()
    child.join(10)
    assert child.exitcode == 0
    assert connections_made() == before + 1
    assert isinstance(bench.expire(waiting), Open)


# --- claim and begin in one step


def test_a_claim_with_the_intent_in_hand_begins_the_attempt_too(bench, waiting):
    claim = bench.claim_and_begin(waiting)
    assert isinstance(claim, Claim)
    assert (claim.is_begun, claim.attempts, claim.token) == (True, 0, "1")
    record = bench.record(waiting)
    assert (record.state, record.attempts, record.worker) == (State.SENDING, 1, "w1")
    assert bench.events(waiting) == ["accepted", "claimed", "attempt_started"]
    assert [line["attempt"] for line in bench.audit()] == [0, 0, 1]
    assert bench.index("in_flight") == {waiting}
    assert isinstance(bench.end(claim), Ended)


@pytest.mark.parametrize("routed", ["", "{}", '{"destination": "sales"}'])
def test_a_claim_with_another_intent_in_hand_begins_nothing(bench, waiting, routed):
    claim = bench.claim(waiting, routed=routed)
    assert isinstance(claim, Claim)
    assert not claim.is_begun
    assert bench.record(waiting).state is State.CLAIMED
    assert bench.events(waiting) == ["accepted", "claimed"]


def test_the_same_claim_again_says_again_that_the_attempt_is_begun(bench, waiting):
    first = bench.claim_and_begin(waiting, claim_id="a")
    again = bench.claim_and_begin(waiting, claim_id="a")
    assert isinstance(first, Claim)
    assert again == replace(first, remaining_ms=again.remaining_ms)
    assert bench.claim_and_begin(waiting, claim_id="b") == Open(State.SENDING, worker="w1")
    assert bench.record(waiting).attempts == 1
    assert bench.events(waiting) == ["accepted", "claimed", "attempt_started"]


def test_a_claim_that_comes_late_begins_no_attempt_of_a_transfer_that_waits_for_its_next(bench, waiting):
    claim = bench.claim_and_begin(waiting, claim_id="a")
    bench.end(claim, State.CLAIMED, Reason.PLATFORM_UNAVAILABLE)
    late = bench.claim_and_begin(waiting, claim_id="a")
    assert isinstance(late, Claim)
    assert (late.is_begun, late.attempts) == (False, 1)
    assert bench.record(waiting).state is State.CLAIMED
    bench.bury("w1")
    bench.recover()
    assert bench.claim_and_begin(waiting, claim_id="a") == Open(State.WAITING, worker="w1")


def test_an_heir_begins_the_attempt_after_the_last(bench, waiting):
    claim = bench.claim_and_begin(waiting)
    bench.end(claim, State.CLAIMED, Reason.PLATFORM_UNAVAILABLE)
    bench.bury("w1")
    bench.recover()
    heir = bench.claim_and_begin(waiting, worker="w2")
    assert isinstance(heir, Claim)
    assert (heir.is_begun, heir.attempts, bench.record(waiting).attempts) == (True, 1, 2)
    assert isinstance(bench.end(claim), Lost)


def test_nothing_is_begun_for_what_is_late_or_paused(bench):
    late = bench.accept(remaining_ms=-1).transfer_id
    assert outcome_of(bench.claim_and_begin(late)).state is State.EXPIRED
    assert bench.record(late).attempts == 0


# --- begin and end


def test_an_attempt_is_on_record_before_it_goes_out_and_repeating_the_step_begins_nothing(bench, claim):
    first, again = bench.begin(claim), bench.begin(claim)
    assert isinstance(first, Begun)
    assert isinstance(again, Begun)
    assert 0 < again.remaining_ms <= first.remaining_ms <= LONG_MS
    record = bench.record(claim.transfer_id)
    assert (record.state, record.attempts, record.attempt_notes[0]["worker"]) == (State.SENDING, 1, "w1")
    assert bench.events(claim.transfer_id).count("attempt_started") == 1


def test_an_attempt_under_way_is_no_leave_for_the_next_one(bench, sending):
    assert bench.begin(sending, attempt=2) == Lost("sending", None)


def test_a_stale_token_can_neither_begin_nor_end(bench, claim):
    stale = Claim(**{**{name: getattr(claim, name) for name in Claim.__slots__}, "token": "0"})
    assert bench.begin(stale) == Lost("claimed", None)
    bench.begin(claim)
    assert bench.begin(stale) == Lost("sending", None)
    assert bench.end(stale) == Lost("sending", None)
    bench.end(claim)
    assert bench.end(stale) == Lost("submitted", bench.record(claim.transfer_id).outcome)


def test_nothing_begins_after_the_deadline(bench):
    claim = bench.claim(bench.accept(remaining_ms=40).transfer_id)
    assert isinstance(claim, Claim)
    time.sleep(0.05)
    lost = bench.begin(claim)
    assert isinstance(lost, Lost)
    assert lost.outcome is not None
    assert (lost.state, lost.outcome.reason) == ("expired", Reason.DEADLINE_PASSED)
    assert bench.index("in_flight") == set()


def test_after_a_retry_the_deadline_leaves_the_proven_refusal_as_the_reason(bench):
    claim = bench.claim(bench.accept(remaining_ms=60).transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    bench.retry(claim)
    time.sleep(0.07)
    lost = bench.begin(claim, attempt=2)
    assert isinstance(lost, Lost)
    assert lost.outcome is not None
    assert (lost.outcome.state, lost.outcome.reason, lost.outcome.http_status, lost.outcome.attempts) == (
        State.FAILED,
        Reason.PLATFORM_UNAVAILABLE,
        503,
        1,
    )


def test_a_retry_waits_as_claimed_and_the_next_attempt_counts_on(bench, sending):
    assert bench.retry(sending) == TryAgain()
    assert bench.retry(sending) == TryAgain()  # repeated
    assert bench.record(sending.transfer_id).state is State.CLAIMED
    assert isinstance(bench.begin(sending, attempt=2), Begun)
    ended = bench.end(sending, answer_json=json.dumps({"message": "queued"}))
    assert outcome_of(ended).attempts == 2
    first, second = bench.record(sending.transfer_id).attempt_notes
    assert (first["http_status"], first["reason"]) == (503, "platform_unavailable")
    assert json.loads(second["answer"]) == {"message": "queued"}
    assert bench.events(sending.transfer_id) == [
        "accepted",
        "claimed",
        "attempt_started",
        "retry_scheduled",
        "attempt_started",
        "finished",
    ]


def test_an_attempt_that_is_over_is_never_begun_again_by_a_delayed_request(bench, sending):
    """Redis may get a request late that its sender has given up and repeated: a held connection, say."""
    bench.retry(sending)
    assert bench.begin(sending, attempt=1) == Lost("claimed", None)
    assert isinstance(bench.begin(sending, attempt=2), Begun)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM),
        (State.REJECTED, Reason.CALL_NOT_FOUND),
        (State.FAILED, Reason.PLATFORM_UNREACHABLE),
        (State.UNKNOWN, Reason.ANSWER_LOST),
    ],
)
def test_every_ending_of_an_attempt_is_written_once_and_can_be_repeated(bench, sending, state, reason):
    first = bench.end(sending, state, reason, http_status=418, detail="a detail")
    again = bench.end(sending, state, reason, http_status=418, detail="a detail")
    assert first == again
    outcome = outcome_of(first)
    assert (outcome.state, outcome.reason, outcome.http_status, outcome.detail) == (
        state,
        reason,
        418,
        "a detail",
    )
    assert (outcome.attempts, outcome.source) == (1, "worker")
    assert bench.record(sending.transfer_id).outcome == outcome
    assert bench.events(sending.transfer_id).count("finished") == 1
    assert bench.index("in_flight") == set()
    assert bench.index("unknown") == ({sending.transfer_id} if state is State.UNKNOWN else set())


def test_a_rejection_before_any_attempt_leaves_no_attempt_note(bench, claim):
    bench.end(claim, State.REJECTED, Reason.CALLER_ID_MISSING, http_status=None)
    record = bench.record(claim.transfer_id)
    assert (record.attempts, record.attempt_notes, record.http_status) == (0, (), None)


def test_a_rejection_by_the_heir_leaves_the_first_workers_attempt_note_alone(bench, sending):
    bench.retry(sending)
    bench.bury("w1")
    bench.recover()
    heir = bench.claim(sending.transfer_id, worker="w2")
    assert isinstance(heir, Claim)
    assert heir.attempts == 1
    bench.end(heir, State.REJECTED, Reason.DESTINATION_NOT_ALLOWED, http_status=None)
    (note,) = bench.record(sending.transfer_id).attempt_notes
    assert (note["reason"], note["worker"]) == ("platform_unavailable", "w1")


def test_the_finished_line_has_the_documented_fields(bench, sending):
    bench.end(sending, detail="a detail")
    line = bench.audit(sending.transfer_id)[-1]
    assert set(line) == {
        "timestamp",
        "event",
        "event_id",
        "transfer_id",
        "call_id",
        "idempotency_key",
        "hop",
        "attempt",
        "destination",
        "state",
        "reason",
        "source",
        "http_status",
        "detail",
        "waited_ms",
        "attempt_ms",
        "worker",
    }
    assert (line["state"], line["http_status"], line["attempt_ms"]) == ("submitted", 200, 12)


# --- cancel, expire, resolve, refuse


def test_what_waits_or_is_claimed_can_be_cancelled_and_then_nobody_can_send(bench, claim):
    done, seen = bench.cancel(claim.transfer_id)
    assert done
    outcome = outcome_of(seen)
    assert (outcome.state, outcome.source, outcome.detail) == (State.CANCELLED, "session", "hung up")
    assert bench.cancel(claim.transfer_id) == (True, seen)
    assert bench.begin(claim) == Lost("cancelled", outcome)
    assert bench.end(claim, State.REJECTED, Reason.CALLER_ID_MISSING) == Lost("cancelled", outcome)
    assert bench.events(claim.transfer_id).count("finished") == 1


def test_a_wait_between_attempts_can_be_cancelled(bench, sending):
    bench.retry(sending)
    assert bench.cancel(sending.transfer_id)[0]
    assert isinstance(bench.begin(sending, attempt=2), Lost)


def test_what_is_being_sent_is_too_late_to_cancel(bench, sending):
    assert bench.cancel(sending.transfer_id) == (False, Open(State.SENDING))
    ended = bench.end(sending)
    assert bench.cancel(sending.transfer_id) == (False, ended)


def test_expire_ends_only_what_waits_and_is_late(bench, waiting):
    seen = bench.expire(waiting)
    assert isinstance(seen, Open)
    assert seen.state is State.WAITING
    assert 0 < seen.remaining_ms <= LONG_MS
    late = bench.accept(remaining_ms=-1).transfer_id
    outcome = outcome_of(bench.expire(late))
    assert (outcome.state, outcome.source) == (State.EXPIRED, "publisher")
    assert outcome_of(bench.expire(late)) == outcome


def test_expire_leaves_a_late_claim_to_its_worker(bench):
    transfer_id = bench.accept(remaining_ms=30).transfer_id
    assert isinstance(bench.claim(transfer_id), Claim)
    time.sleep(0.04)
    seen = bench.expire(transfer_id)
    assert isinstance(seen, Open)
    assert (seen.state, seen.remaining_ms <= 0) == (State.CLAIMED, True)


@pytest.mark.parametrize(
    ("transferred", "state", "reason"),
    [
        (True, State.SUBMITTED, Reason.TRANSFER_CONFIRMED),
        (False, State.FAILED, Reason.NOT_TRANSFERRED),
    ],
)
def test_evidence_settles_an_unknown_once(bench, sending, transferred, state, reason):
    bench.lose_answer(sending)
    resolved = bench.resolve(sending.transfer_id, transferred=transferred)
    outcome = outcome_of(resolved)
    assert (outcome.state, outcome.reason, outcome.source) == (state, reason, "operator")
    assert bench.resolve(sending.transfer_id, transferred=transferred) == resolved
    assert bench.resolve(sending.transfer_id, transferred=not transferred) == Lost(state, outcome)
    assert bench.index("unknown") == set()
    assert bench.events(sending.transfer_id)[-2:] == ["finished", "resolved"]
    assert bench.audit(sending.transfer_id)[-1]["previous_state"] == "unknown"


def test_only_an_unknown_can_be_settled(bench, claim):
    assert bench.resolve(claim.transfer_id, transferred=True) == Lost("claimed", None)
    bench.begin(claim)
    assert bench.resolve(claim.transfer_id, transferred=True) == Lost("sending", None)
    ended = outcome_of(bench.end(claim, State.REJECTED, Reason.CALL_NOT_FOUND))
    assert bench.resolve(claim.transfer_id, transferred=True) == Lost("rejected", ended)


def test_a_refused_message_gets_one_recorded_outcome(bench):
    transfer_id = str(uuid.uuid4())
    first = bench.refuse(transfer_id)
    assert bench.refuse(transfer_id, reason=Reason.UNSUPPORTED_SCHEMA_VERSION) == first
    outcome = outcome_of(first)
    assert (outcome.state, outcome.reason, outcome.attempts) == (State.REJECTED, Reason.INVALID_INTENT, 0)
    assert bench.record(transfer_id).outcome == outcome
    assert bench.events(transfer_id) == ["finished"]


def test_an_open_record_is_not_refused(bench, claim):
    assert bench.refuse(claim.transfer_id) is None
    assert bench.record(claim.transfer_id).state is State.CLAIMED


# --- heartbeats and recovery


def test_a_beat_lives_as_long_as_its_lease_and_retiring_ends_it(bench):
    bench.beat("w1", lease_ms=30)
    assert 0 < bench.client.pttl(bench.keys.worker("w1")) <= 30
    wait_until(lambda: not bench.client.exists(bench.keys.worker("w1")))
    bench.beat("w2")
    bench.run(bench.commands.retire(worker="w2"))
    assert bench.client.zscore(bench.keys.workers, "w2") == 0  # the next sweep sees to what it had fetched
    assert not bench.client.exists(bench.keys.worker("w2"))


def test_one_sweep_a_time_interval_acts(bench, claim):
    bench.bury("w1")
    assert bench.recover().requeued == 1
    bench.claim(claim.transfer_id, worker="w2")
    assert bench.recover(interval_ms=LONG_MS) == NOTHING
    assert bench.recover().requeued == 1


def test_a_request_that_was_held_back_for_minutes_gets_no_fresh_deadline(bench):
    minutes_ago_ms = round(time.time() * 1000) - 120_000
    late = bench.accept(remaining_ms=15_000, latest_ms=minutes_ago_ms)
    assert bench.claim(late.transfer_id).outcome.reason == "deadline_passed"


def test_clocks_that_differ_by_seconds_change_no_deadline(bench):
    behind_ms = round(time.time() * 1000) - 30_000
    accepted = bench.accept(remaining_ms=15_000, latest_ms=behind_ms)
    assert 14_000 < bench.claim(accepted.transfer_id).remaining_ms <= 15_000


def test_a_clock_that_was_set_back_does_not_stop_recovery(bench, claim):
    bench.bury("w1")
    ahead_ms = round(time.time() * 1000) + LONG_MS
    bench.client.hset(bench.keys.sweep, mapping={"last_ms": ahead_ms, "resumed_ms": 0})
    assert bench.recover(interval_ms=LONG_MS).requeued == 1


def test_nobody_is_judged_before_the_living_have_had_time_for_a_beat(bench, claim):
    bench.bury("w1")
    assert bench.recover(grace_ms=LONG_MS) == NOTHING
    assert bench.recover(grace_ms=LONG_MS) == NOTHING
    assert bench.recover(grace_ms=0).requeued == 1


def test_after_a_time_without_sweeps_the_grace_begins_anew(bench, claim):
    bench.recover(grace_ms=0, lease_ms=20)
    bench.bury("w1")
    time.sleep(0.03)
    assert bench.recover(grace_ms=LONG_MS, lease_ms=20) == NOTHING


def test_a_dead_workers_claim_is_queued_again_for_the_next_to_take(bench, claim):
    younger = bench.accept().transfer_id
    bench.client.rpop(bench.queue)  # what the dead worker had fetched
    bench.bury("w1")
    assert bench.recover() == Recovered(requeued=1, given_up=0, expired=0, gone_workers=0)
    assert bench.queued() == [claim.transfer_id, younger]
    assert bench.record(claim.transfer_id).state is State.WAITING
    assert bench.index("waiting") == {claim.transfer_id, younger}
    line = bench.audit(claim.transfer_id)[-1]
    assert (line["event"], line["why"], line["worker"]) == ("transfer.requeued", "worker_died", "w1")
    heir = bench.claim(claim.transfer_id, worker="w2")
    assert isinstance(heir, Claim)
    assert int(heir.token) > int(claim.token)
    assert bench.begin(claim) == Lost("claimed", None)
    assert isinstance(bench.begin(heir), Begun)


def test_a_worker_that_was_taken_over_from_can_do_nothing_before_the_heir_has_claimed(bench, sending):
    """Its last step may have been carried out with the answer lost, and so be repeated after the takeover."""
    bench.retry(sending)
    bench.bury("w1")
    bench.recover()
    assert isinstance(bench.retry(sending), Lost)
    assert isinstance(bench.begin(sending, attempt=2), Lost)
    assert isinstance(bench.end(sending, State.FAILED, Reason.NOT_SENT), Lost)
    assert bench.record(sending.transfer_id).state is State.WAITING
    assert bench.index("waiting") == {sending.transfer_id}
    assert bench.events(sending.transfer_id).count("retry_scheduled") == 1


def test_the_oldest_is_first_in_line_after_a_recovery(bench):
    ids = []
    for _ in range(3):
        ids.append(bench.accept().transfer_id)
        bench.claim(ids[-1])
        time.sleep(0.002)
    bench.client.delete(bench.queue)
    bench.bury("w1")
    assert bench.recover().requeued == 3
    assert bench.queued() == ids


def test_a_living_worker_keeps_its_claim(bench, claim):
    bench.beat("w1")
    assert bench.recover() == NOTHING
    assert isinstance(bench.begin(claim), Begun)


def test_what_a_dead_worker_was_sending_ends_unknown_and_is_not_queued(bench, sending):
    bench.client.delete(bench.queue)
    bench.bury("w1")
    assert bench.recover().given_up == 1
    outcome = bench.record(sending.transfer_id).outcome
    assert outcome is not None
    assert (outcome.state, outcome.reason, outcome.source) == (
        State.UNKNOWN,
        Reason.WORKER_DIED,
        "recovery",
    )
    assert bench.queued() == []
    assert bench.index("unknown") == {sending.transfer_id}
    assert bench.begin(sending) == Lost("unknown", outcome)


def test_a_living_worker_that_never_settles_is_given_up_after_the_attempts_bound(bench, sending):
    bench.beat("w1")
    assert bench.recover(attempt_bound_ms=LONG_MS) == NOTHING
    time.sleep(0.002)
    assert bench.recover(attempt_bound_ms=0).given_up == 1
    assert bench.record(sending.transfer_id).reason is Reason.ANSWER_LOST


@pytest.mark.parametrize(
    ("state", "reason"),
    [(State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM), (State.REJECTED, Reason.CALL_NOT_FOUND)],
)
def test_an_answer_that_comes_late_corrects_what_was_given_up(bench, given_up, state, reason):
    late = bench.end(given_up, state, reason)
    assert outcome_of(late).state is state
    assert bench.end(given_up, state, reason) == late
    assert bench.events(given_up.transfer_id)[-2:] == ["finished", "resolved"]
    assert bench.index("unknown") == set()
    assert bench.record(given_up.transfer_id).attempt_notes[0]["reason"] == reason


def test_a_late_proof_that_nothing_happened_ends_it_as_failed_without_another_attempt(bench, given_up):
    outcome = outcome_of(bench.retry(given_up))
    assert (outcome.state, outcome.reason) == (State.FAILED, Reason.PLATFORM_UNAVAILABLE)
    assert isinstance(bench.begin(given_up, attempt=2), Lost)


def test_a_late_answer_that_knows_nothing_leaves_it_as_it_is(bench, given_up):
    before = bench.record(given_up.transfer_id).outcome
    assert bench.lose_answer(given_up) == Ended(before)
    assert bench.events(given_up.transfer_id).count("resolved") == 0


def test_a_late_acceptance_is_believed_more_than_evidence_to_the_contrary(bench, given_up):
    bench.resolve(given_up.transfer_id, transferred=False)
    assert outcome_of(bench.end(given_up)).state is State.SUBMITTED
    assert bench.events(given_up.transfer_id)[-3:] == ["finished", "resolved", "resolved"]


def test_what_waits_past_its_deadline_is_ended_by_the_sweep(bench):
    late, in_time = bench.accept(remaining_ms=-1).transfer_id, bench.accept().transfer_id
    assert bench.recover().expired == 1
    outcome = bench.record(late).outcome
    assert outcome is not None
    assert (outcome.state, outcome.source) == (State.EXPIRED, "recovery")
    assert bench.record(in_time).state is State.WAITING


def test_a_dead_workers_late_claim_is_ended_instead_of_queued(bench):
    transfer_id = bench.accept(remaining_ms=30).transfer_id
    bench.claim(transfer_id)
    time.sleep(0.04)
    assert bench.recover() == Recovered(requeued=0, given_up=0, expired=1, gone_workers=0)
    assert bench.record(transfer_id).state is State.EXPIRED


def test_a_living_workers_forgotten_claim_is_ended_after_the_deadline_and_the_bound(bench):
    transfer_id = bench.accept(remaining_ms=20).transfer_id
    bench.claim(transfer_id)
    bench.beat("w1")
    time.sleep(0.03)
    assert bench.recover(attempt_bound_ms=LONG_MS) == NOTHING
    assert bench.recover(attempt_bound_ms=0).expired == 1


def test_a_lost_message_is_rung_again_when_the_queue_shows_that_it_is_gone(bench, waiting):
    bench.client.delete(bench.queue)
    assert bench.recover(lease_ms=LONG_MS) == NOTHING  # it may be between queue and worker just now
    time.sleep(0.005)
    assert bench.recover(lease_ms=1).requeued == 1
    assert bench.queued() == [waiting]
    assert bench.audit(waiting)[-1]["why"] == "message_lost"
    assert bench.recover(lease_ms=1).requeued == 0


def test_a_message_that_is_still_in_the_queue_is_not_doubled(bench):
    ids = []
    for _ in range(3):
        ids.append(bench.accept().transfer_id)
        time.sleep(0.002)
    assert bench.recover(lease_ms=1).requeued == 0
    assert bench.queued() == ids


def test_a_lost_message_is_found_behind_younger_ones(bench, waiting):
    bench.client.delete(bench.queue)
    time.sleep(0.002)
    younger = bench.accept().transfer_id
    time.sleep(0.005)
    assert bench.recover(lease_ms=1).requeued == 1
    assert bench.queued() == [waiting, younger]


def test_a_fetched_message_is_left_alone_until_a_worker_is_lost(bench, waiting):
    bench.client.rpop(bench.queue)
    bench.client.hset("transfer:unacked", waiting, "[]")
    bench.client.zadd("transfer:unacked_index", {waiting: 1})
    bench.beat("w1")
    time.sleep(0.005)
    assert bench.recover(lease_ms=1) == NOTHING
    bench.bury("w1")
    assert bench.recover() == Recovered(requeued=1, given_up=0, expired=0, gone_workers=1)
    assert bench.queued() == [waiting]
    assert not bench.client.exists("transfer:unacked", "transfer:unacked_index")
    assert bench.audit(waiting)[-1]["why"] == "its_worker_has_gone"


def test_a_worker_that_stops_in_good_order_leaves_its_fetched_messages_to_others_at_once(bench, waiting):
    bench.client.rpop(bench.queue)
    bench.client.hset("transfer:unacked", waiting, "[]")
    bench.beat("w1")
    bench.run(bench.commands.retire(worker="w1"))
    assert bench.recover().requeued == 1
    assert bench.queued() == [waiting]
    assert bench.client.zcard(bench.keys.workers) == 0


@pytest.mark.parametrize(
    "junk", ["junk", "[]", '{"headers": 1}', '{"headers": {"id": null}}', '{"headers": {}}']
)
def test_junk_at_the_end_of_the_queue_does_not_stop_the_sweep(bench, claim, junk):
    bench.client.rpush(bench.queue, junk)
    bench.bury("w1")
    assert bench.recover(lease_ms=1).requeued == 1


def test_a_sweep_looks_at_no_more_than_its_limit(bench):
    for _ in range(5):
        bench.accept(remaining_ms=-1)
    assert [bench.recover(limit=2).expired for _ in range(3)] == [2, 2, 1]


def test_a_record_that_is_gone_leaves_the_indexes(bench, claim, waiting):
    other = bench.accept().transfer_id
    bench.client.delete(bench.keys.record(claim.transfer_id), bench.keys.record(other))
    assert bench.recover() == NOTHING
    assert bench.index("waiting") == bench.index("in_flight") == set()


# --- the ledger itself


def test_a_script_that_redis_has_forgotten_is_sent_again(bench, waiting):
    bench.client.script_flush()
    assert isinstance(bench.claim(waiting), Claim)


def test_every_script_is_known_to_redis_by_the_hash_that_we_compute(bench):
    for name in ("accept", "claim", "begin_attempt", "end_attempt", "cancel", "expire", "resolve"):
        script = load_script(name)
        assert bench.client.script_load(script.source) == script.sha


def test_a_call_is_read_back_in_the_order_of_its_hops(bench):
    for destination in ("support", "sales", "billing"):
        bench.cancel(bench.accept(call_id="c", destination=destination).transfer_id)
    assert [(record.hop, record.labels["destination"]) for record in bench.ledger.read_call("c")] == [
        (1, "support"),
        (2, "sales"),
        (3, "billing"),
    ]


def test_a_redis_that_does_not_answer_is_one_typed_error(redis_url):
    with (
        FaultProxy.before(redis_url) as proxy,
        connect(proxy.url_for(redis_url), timeout_seconds=0.1) as client,
    ):
        bench = LedgerBench(client)
        bench.accept()
        proxy.hold()
        for ask in (bench.accept, lambda: bench.ledger.read("x"), lambda: bench.ledger.read_call("x")):
            with pytest.raises(LedgerUnavailable):
                ask()


def test_namespaces_do_not_see_each_other(bench, waiting):
    other = Ledger(bench.client, namespace="other", retention_seconds=10)
    assert other.read(waiting) is None
    assert other.run(other.commands.expire(waiting, source="x")) == Missing()
