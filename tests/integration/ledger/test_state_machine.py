"""No sequence of steps brings the ledger into an illegal state: random ones against a real Redis.

The machine keeps no model of what must come out. It compares the whole ledger before and after each step with
what that step may do to it, and looks at the invariants after every single one. Time passes for real where a
deadline is some milliseconds away; leases end because a rule ends them.
"""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.ledger_bench import LONG_MS, LedgerBench
from support.ledger_invariants import CALLS, LedgerInvariants, Seen
from support.ledger_reports import ENDINGS, REQUESTS, RETRY, LedgerReports
from support.passing_days import WEEK_SECONDS, let_a_day_pass
from transfer_tasks.ledger.verdicts import Begun, Claim, Ended
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = ("w1", "w2")
SHORT_MS = 4

LATE = {State.EXPIRED, State.FAILED}
NOT_SENT = LATE | {State.REJECTED}
ENDED_BY_WORKER = {State.SUBMITTED, State.REJECTED, State.FAILED, State.UNKNOWN}

# Who may bring about what. A step that is not listed here changes nothing.
LEGAL: dict[str, set[tuple[State | None, State]]] = {
    "accept": {(None, State.WAITING), (None, State.REJECTED)},
    "refuse": {(None, State.REJECTED)},
    # Rejected: the transfer before it moved the call after all.
    "claim": {(State.WAITING, State.CLAIMED), *((State.WAITING, end) for end in NOT_SENT)},
    "claim_and_begin": {(State.WAITING, State.SENDING), *((State.WAITING, end) for end in NOT_SENT)},
    "begin": {(State.CLAIMED, State.SENDING), *((State.CLAIMED, end) for end in NOT_SENT)},
    "end": {
        (State.SENDING, State.CLAIMED),
        *((State.SENDING, ending) for ending in ENDED_BY_WORKER),
        *((State.CLAIMED, ending) for ending in ENDED_BY_WORKER),
        *((State.UNKNOWN, ending) for ending in ENDED_BY_WORKER - {State.UNKNOWN}),
        # Evidence said that it had not been moved, and then its answer came after all.
        (State.FAILED, State.SUBMITTED),
        (State.FAILED, State.REJECTED),
        # Reports that were kept are of another transfer, now that this one's request is known.
        *((old, State.SUBMITTED) for old in (State.CLAIMED, State.WAITING)),
    },
    # What the platform has reported on ends as submitted, whatever was known or believed.
    "report": {(old, State.SUBMITTED) for old in (State.UNKNOWN, State.FAILED, State.CLAIMED, State.WAITING)},
    "cancel": {(State.WAITING, State.CANCELLED), (State.CLAIMED, State.CANCELLED)},
    "expire": {(State.WAITING, late) for late in LATE},
    "resolve": {(State.UNKNOWN, State.SUBMITTED), (State.UNKNOWN, State.FAILED)},
    "recover": {
        (State.CLAIMED, State.WAITING),
        (State.SENDING, State.UNKNOWN),
        (State.SENDING, State.SUBMITTED),
        *((State.WAITING, late) for late in LATE),
        *((State.CLAIMED, late) for late in LATE),
    },
}


def is_anything_asked(machine: LedgerInvariants) -> bool:
    """Whether there is anything on which time, and who lives, can tell."""
    return bool(machine.before)


def never_valid(transfer_id: str) -> Claim:
    """Return what stands for a claim that was refused: bundles must not depend on the clock."""
    return Claim(transfer_id, "-1", "", "", 1, 0, 0, "{}")


class LedgerMachine(LedgerReports):
    """Publishers, workers, a sweep, and time."""

    transfers = Bundle("transfers")
    claims = Bundle("claims")
    past_steps = Bundle("past_steps")

    @initialize(limit_of_call=st.sampled_from([1, 2, 1000]))
    def open_a_new_cluster(self, limit_of_call: int) -> None:
        name = uuid.uuid4().hex
        self.bench = LedgerBench(
            self.client,
            namespace=f"machine-{name}",
            queue=f"queue-{name}",
            retention_seconds=WEEK_SECONDS,
        )
        # Publishers may ask as often as workers work, so that steps meet each other on few transfers.
        self.asked = self.worked = self.days = 0
        self.permitted: dict[tuple[str, int], str] = {}
        self.before: dict[str, Seen] = {}
        self.chains: dict[str, list[State]] = {}
        self.limit_of_call = limit_of_call
        self.bench.limit(call=f"{limit_of_call}/3600")
        for worker in WORKERS:
            self.bench.heartbeat(worker)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            names: Any = self.client.keys(f"{self.bench.keys.namespace}:*")
            self.client.delete(self.bench.queue, *names)

    # --- what can be done

    @precondition(lambda self: self.asked < 1 + self.worked)
    @rule(
        target=transfers,
        call_id=st.sampled_from(CALLS),
        destination=st.sampled_from(["support", "sales"]),
        key=st.sampled_from(["", "", "key-1", "call-1:1", "call-1:2"]),
        remaining_ms=st.sampled_from([LONG_MS, LONG_MS, SHORT_MS, -1]),
        repeat_window_ms=st.sampled_from([0, LONG_MS]),
    )
    def accept(self, call_id, destination, key, remaining_ms, repeat_window_ms):
        self.asked += 1
        transfer_id = str(uuid.uuid4())
        ask = partial(
            self.bench.accept,
            transfer_id=transfer_id,
            call_id=call_id,
            destination=destination,
            content=f"{call_id}{destination}",
            key=key,
            remaining_ms=remaining_ms,
            repeat_window_ms=repeat_window_ms,
        )
        is_limited = self.is_limited(call_id)
        reply = self.step("accept", ask)
        if reply.verdict == "accepted":
            assert (reply.state is State.REJECTED) == is_limited
            assert State.UNKNOWN not in {seen.state for seen in self.calls_of(call_id)}
            assert key not in {s.key for i, s in self.before.items() if i != transfer_id and key}
            again = self.step("again", ask)
            assert (again.verdict, again.transfer_id) == ("existing", transfer_id)
        if reply.verdict == "repeat" and key == "":
            first = self.before[reply.transfer_id]
            assert first.state.is_open or first.state in {State.UNKNOWN, State.SUBMITTED}
            assert first.state is not State.SUBMITTED or repeat_window_ms or first.rings_until_ms
        if reply.verdict == "in_progress":
            stands = self.before[reply.transfer_id]
            assert stands.state.is_open or stands.state is State.UNKNOWN or stands.rings_until_ms
            assert stands.call_id == call_id
        if reply.verdict == "conflict":
            assert key == self.before[reply.transfer_id].key
        return reply.transfer_id

    def is_limited(self, call_id: str) -> bool:
        counted = [seen for seen in self.calls_of(call_id) if seen.reason != Reason.LIMIT_REACHED]
        return len(counted) >= self.limit_of_call

    @rule(target=transfers, call_id=st.sampled_from(CALLS))
    def ask_and_withdraw(self, call_id):
        """The way to the limit of a call, which is rare at random."""
        is_limited, ask = self.is_limited(call_id), partial(self.bench.accept, call_id=call_id)
        reply = self.step("accept", partial(ask, destination="billing", repeat_window_ms=0))
        if reply.verdict == "accepted":
            assert (reply.state is State.REJECTED) == is_limited
            self.step("cancel", partial(self.bench.cancel, reply.transfer_id))
        return reply.transfer_id

    @precondition(lambda self: self.asked < 1 + self.worked)
    @rule(target=transfers)
    def refuse(self):
        self.asked += 1
        transfer_id = str(uuid.uuid4())
        self.step("refuse", partial(self.bench.refuse, transfer_id))
        return transfer_id

    @rule(transfer_id=transfers)
    def refuse_what_is_known(self, transfer_id):
        self.step("again", partial(self.bench.refuse, transfer_id))

    @rule(targets=(claims, past_steps), transfer_id=transfers, worker=st.sampled_from(WORKERS))
    def claim(self, transfer_id, worker):
        self.worked += 1
        ask = partial(self.bench.claim, transfer_id, worker=worker, claim_id=uuid.uuid4().hex)
        reply = self.step("claim", ask)
        if not isinstance(reply, Claim):
            return never_valid(transfer_id)
        again = self.step("again", ask)
        assert isinstance(again, Claim)
        assert again.token == reply.token
        return reply

    @rule(targets=(claims, past_steps), transfer_id=transfers, worker=st.sampled_from(WORKERS))
    def claim_and_begin(self, transfer_id, worker):
        self.worked += 1
        ask = partial(self.bench.claim_and_begin, transfer_id, worker=worker, claim_id=uuid.uuid4().hex)
        reply = self.step("claim_and_begin", ask)
        if not isinstance(reply, Claim):
            return never_valid(transfer_id)
        again = self.step("again", ask)
        assert isinstance(again, Claim)
        assert (again.token, again.attempts, again.is_begun) == (reply.token, reply.attempts, True)
        attempt = (transfer_id, reply.attempts + 1)
        assert attempt not in self.permitted, "an attempt was begun twice"
        self.permitted[attempt] = reply.token
        return reply

    @rule(target=past_steps, claim=claims)
    def begin_the_next_attempt(self, claim):
        attempt = self.before[claim.transfer_id].attempt + 1
        self.begin(claim, attempt)
        return ("begin", claim, attempt)

    @rule(claim=claims, attempt=st.integers(1, 4))
    def begin_any_attempt(self, claim, attempt):
        self.begin(claim, attempt)

    @rule(target=past_steps, claim=claims, ending=st.sampled_from(ENDINGS), request_id=REQUESTS)
    def end(self, claim, ending, request_id):
        self.end_attempt(claim, ending, request_id)
        return ("end", claim, ending)

    @rule(step=past_steps)
    def repeat_what_was_done_long_ago(self, step):
        """The network may hold a request back for any time."""
        match step:
            case ("begin", claim, attempt):
                self.begin(claim, attempt)
            case ("end", claim, ending):
                self.end_attempt(claim, ending)
            case Claim():
                self.end_attempt(step, RETRY)

    @rule(transfer_id=transfers)
    def cancel(self, transfer_id):
        is_cancelled, _ = self.step("cancel", partial(self.bench.cancel, transfer_id))
        assert is_cancelled == (self.before[transfer_id].state is State.CANCELLED)

    @rule(transfer_id=transfers)
    def expire(self, transfer_id):
        self.step("expire", partial(self.bench.expire, transfer_id))

    @rule(transfer_id=transfers, transferred=st.booleans())
    def resolve(self, transfer_id, transferred):
        self.step("resolve", partial(self.bench.resolve, transfer_id, transferred=transferred))

    @rule(
        targets=(claims, past_steps),
        transfer_id=transfers,
        ending=st.sampled_from([None, *ENDINGS]),
        request_id=REQUESTS,
    )
    def claim_and_send(self, transfer_id, ending, request_id):
        """The way to most deep states, which are rare at random. Without an ending the worker is busy."""
        return self.send(transfer_id, ending, request_id)

    @rule(
        targets=(claims, past_steps),
        call_id=st.sampled_from(CALLS),
        destination=st.sampled_from(["support", "sales"]),
        ending=st.sampled_from([None, *ENDINGS]),
        request_id=REQUESTS,
    )
    def ask_and_send(self, call_id, destination, ending, request_id):
        """The same, of a transfer that nobody names later."""
        return self.send_another(call_id, destination, ending, request_id)

    def send_another(self, call_id, destination, ending, request_id):
        ask = partial(self.bench.accept, call_id=call_id, destination=destination, repeat_window_ms=0)
        return self.send(self.step("accept", ask).transfer_id, ending, request_id)

    def send(self, transfer_id, ending, request_id):
        self.worked += 1
        claim = self.step("claim", partial(self.bench.claim, transfer_id, worker="w1"))
        if not isinstance(claim, Claim):
            return never_valid(transfer_id)
        self.begin(claim, claim.attempts + 1)
        if ending:
            self.end_attempt(claim, ending, request_id)
        return claim

    @precondition(is_anything_asked)
    @rule(worker=st.sampled_from(WORKERS))
    def take_over_from_a_dead_worker(self, worker):
        self.step("die", partial(self.bench.bury, worker))
        self.step("recover", self.bench.recover)

    @precondition(is_anything_asked)
    @rule(worker=st.sampled_from(WORKERS))
    def heartbeat(self, worker):
        self.step("heartbeat", partial(self.bench.heartbeat, worker))

    @precondition(is_anything_asked)
    @rule(worker=st.sampled_from(WORKERS))
    def die(self, worker):
        self.step("die", partial(self.bench.bury, worker))

    @precondition(is_anything_asked)
    @rule(
        lease_ms=st.sampled_from([0, LONG_MS]),
        attempt_bound_ms=st.sampled_from([0, LONG_MS]),
        limit=st.sampled_from([1, 500]),
    )
    def recover(self, lease_ms, attempt_bound_ms, limit):
        self.step(
            "recover",
            partial(self.bench.recover, lease_ms=lease_ms, attempt_bound_ms=attempt_bound_ms, limit=limit),
        )

    @precondition(is_anything_asked)
    @rule()
    def let_a_day_pass_and_compact(self):
        let_a_day_pass(self.bench)
        self.days += 1
        settled = [
            key
            for key, seen in self.before.items()
            if not seen.state.is_open and seen.state is not State.UNKNOWN
        ]
        self.step("recover", self.bench.recover)
        assert all(self.bench.record(key).is_compacted for key in settled)

    @precondition(is_anything_asked)
    @rule()
    def fetch_a_message_and_lose_it(self):
        self.client.rpop(self.bench.queue)

    @precondition(is_anything_asked)
    @rule()
    def let_time_pass(self):
        deadline = self.now_ms() + SHORT_MS + 1
        while self.now_ms() < deadline:
            pass

    # --- the steps with a meaning of their own

    def begin(self, claim: Claim, attempt: int) -> None:
        seen = self.before[claim.transfer_id]
        reply = self.step("begin", partial(self.bench.begin, claim, attempt=attempt))
        if not isinstance(reply, Begun):
            return
        assert int(claim.token) == seen.token, "a fenced-off worker may send"
        assert seen.state in {State.CLAIMED, State.SENDING}
        if seen.state is State.SENDING:
            assert attempt == seen.attempt, "two attempts at once"
        else:
            assert (claim.transfer_id, attempt) not in self.permitted, "an attempt was begun twice"
        holder = self.permitted.setdefault((claim.transfer_id, attempt), claim.token)
        assert holder == claim.token, "two claims are valid at once"

    def end_attempt(self, claim: Claim, ending: tuple[State, Reason], request_id: str = "") -> None:
        # Nobody ends as submitted or unknown what was never begun; a worker that does is not ours.
        never_begun = (claim.transfer_id, self.before[claim.transfer_id].attempt) not in self.permitted
        if never_begun and ending[0] in {State.SUBMITTED, State.UNKNOWN}:
            return
        seen = self.before[claim.transfer_id]
        answer_json = json.dumps({"message": "queued"} | ({"request_id": request_id} if request_id else {}))
        reply = self.step("end", partial(self.bench.end, claim, *ending, answer_json=answer_json))
        if int(claim.token) != seen.token:
            assert not isinstance(reply, Ended), "a fenced-off worker ended a transfer"
            assert self.before[claim.transfer_id] == seen

    # --- how each step is judged

    def step(self, name: str, act: Callable[[], Any]) -> Any:
        reply = act()
        after = self.look()
        changed = {key for key in after if after[key] != self.before.get(key)}
        assert self.before.keys() <= after.keys(), "a record is gone"
        # A request that becomes known gives reports that were kept to whom they belong.
        if name not in {"recover", "report", "end"}:
            assert len(changed) <= 1, "one step changed two transfers"
        for key in changed:
            old, new = self.before.get(key), after[key]
            if (old and old.state) != new.state:
                assert (old.state if old else None, new.state) in LEGAL.get(name, set()), (name, old, new)
                self.chains.setdefault(key, []).append(new.state)
            if old:
                assert new.token >= old.token
                assert new.attempt >= old.attempt
                assert (new.call_id, new.hop, new.key) == (old.call_id, old.hop, old.key)
                # An answer may name another request than the one that a report was of.
                if old.final and not (name == "end" and old.state is State.SENDING):
                    assert new.final == old.final, "the first final stands"
        self.before = after
        return reply


@pytest.mark.timeout(900)  # thousands of steps, each looked at whole, on a machine that may be busy
def test_no_sequence_of_steps_reaches_an_illegal_state(redis_url):
    with connect(redis_url, timeout_seconds=30) as client:
        run_state_machine_as_test(
            type("Machine", (LedgerMachine,), {"client": client}),
            settings=settings(
                max_examples=200,
                stateful_step_count=40,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
