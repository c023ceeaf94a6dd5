"""Holds the observers against each other. A finding names what was promised, and which transfer broke it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from chaos.attempts import check_attempts
from chaos.connection_truth import find_connection_faults
from chaos.excuses import find_excuse, find_loss_excuse
from chaos.history import Index, destination_of
from chaos.neighbour import find_neighbour_faults
from chaos.plain_truth import find_plain_faults
from chaos.verdict import Finding, Verdict
from chaos.voice_truth import find_moved_twice, find_untruth, find_wrong_evidence
from chaos.witness import read_slowness
from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.history import Ask, History, Line, Post
    from transfer_tasks.ledger.record import TransferRecord

SLACK_MS: Final = 300.0
"""From the moment a worker last looks at the clock until the sandbox has read the request."""

CELERY_LOSS_MS: Final = 6000.0
SERVED_MS: Final = 3500.0
"""When all has been well for so long, and for a worker's start besides, every open transfer has been seen
to: a lease and two sweeps."""

START_MS: Final = 3000.0
"""A worker's start, which computes all the time, in a run that has the machine to itself. Else it takes as
many times as long as the witness says."""

PUBLISH_BUDGET_MS: Final = 1000.0
BUDGET_SLACK_MS: Final = 1000.0
"""What a machine with more to do than cores may add; whoever waits for Redis instead waits for seconds."""

DEADLINE_OFF_MS: Final = 1200.0
"""A submission is under way for a second at most; a publisher knows Redis's clock but for half its shortest
round trip."""

SAYS_YES: Final = frozenset({"ok", "slow", "tracked"})
NOT_MOVED: Final = frozenset({State.FAILED, State.REJECTED, State.EXPIRED, State.CANCELLED})
BESIDE: Final = frozenset({"refused", "repeated", "quarantined", "ringing", "connected", "not_connected"})
"""Lines that tell of a message, of another request or of the second fact, not of this transfer's course."""


class Auditor:
    """Judges one history."""

    def __init__(self, history: History) -> None:
        self.history, self.index, self.verdict = history, Index(history), Verdict()

    def judge(self) -> Verdict:
        """Check every invariant."""
        for record in self.history.records.values():
            self._check_record(record)
        for call_id, records in self.index.calls.items():
            if call_id:
                self._check_call(records)
        for ask in self.history.asks:
            self._check_ask(ask)
        self._check_voice()
        for error in self.history.task_errors or [""]:
            self._expect("errors", not error, "worker", error[:300])
        keys = {record.idempotency_key for record in self.history.records.values()}
        for post in self.history.posts:
            self._expect("agreement", post.key in keys, post.key, f"a POST under a key of no record: {post}")
        written = {line.event_id for line in self.history.lines}
        missing = self.history.stream_ids - written
        self._expect(
            "lines", not missing, "audit", f"{len(missing)} lines are missing: {sorted(missing)[:5]}"
        )
        for text in self.history.audit_faults or [""]:
            self._expect("lines", not text, "audit file", text)
        unprinted = self.history.stream_ids - self.history.printed_ids
        self._expect(
            "lines", not unprinted, "stdout", f"{len(unprinted)} lines are missing: {sorted(unprinted)[:5]}"
        )
        self.verdict.checked["neighbour"] += len(self.history.neighbour_tasks)
        for subject, text in find_neighbour_faults(self.history.neighbour_tasks, self.history.faults):
            self._expect("neighbour", False, subject, text)
        return self.verdict

    def _expect(self, invariant: str, holds: object, subject: str, text: str) -> None:
        self.verdict.checked[invariant] += 1
        if not holds:
            self.verdict.findings.append(Finding(invariant, subject, text))

    # --- one transfer

    def _check_record(self, record: TransferRecord) -> None:
        which = record.transfer_id
        lines = [line for line in self.index.lines.get(which, []) if line.event not in BESIDE]
        posts = self.index.posts_of(record)
        finished = [line for line in lines if line.event == "finished"]
        self._expect("ended", not record.state.is_open, which, f"is {record.state} at the end")
        self._expect("ended", len(finished) == 1, which, f"has {len(finished)} lines `transfer.finished`")
        moved = [post for post in posts if post.carried_out]
        self._expect("doubled", len(moved) <= 1, which, f"was carried out {len(moved)} times")
        for post in posts:
            late_ms = post.at_ms - record.expires_at_ms
            self._expect("deadline", late_ms <= SLACK_MS, which, f"was sent {late_ms:.0f} ms too late")
        self._check_order(record, lines)
        for line in lines:
            if line.event == "resolved" and line.fields.get("source") == "session":
                wrong = find_wrong_evidence(line, posts)
                self._expect("truth", wrong is None, which, f"the session {wrong}")
            elif line.event in {"finished", "resolved"}:
                self._check_word(record, line.fields.get("state", ""), line.at_ms, "the audit log says")
        self._check_unknown(lines, posts)
        self._check_served(record, lines)
        course = self.history.courses.get(record.call_id)
        if course is not None:
            faults = [*find_connection_faults(record, self.index.lines.get(which, []), course)]
            self._expect("connections", not faults, which, "; ".join(faults))
        for text in check_attempts(record, lines, posts):
            self._expect("agreement", False, which, text)
        self.verdict.checked["agreement"] += 1

    def _check_order(self, record: TransferRecord, lines: list[Line]) -> None:
        which, state, attempt = record.transfer_id, "", 0
        for line in lines:
            follows = _COURSE.get((state, line.event))
            self._expect("order", follows, which, f"`{line.event}` after {state or 'nothing'}")
            if line.event == "attempt_started":
                attempt += 1
                self._expect("order", line.attempt == attempt, which, f"attempt {line.attempt} as {attempt}.")
            state = follows or state
            if line.event in {"finished", "resolved"}:
                is_resolvable = "unknown" in {line.fields.get("state"), line.fields.get("previous_state")}
                state = "resolvable" if is_resolvable else "ended"
                if line.event == "finished" and line.fields.get("state") in {"submitted", "unknown"}:
                    self._expect(
                        "order",
                        follows == "ended" and _was_sending(lines, line),
                        which,
                        f"{line.fields['state']} without an attempt under way",
                    )

    def _check_word(self, record: TransferRecord, state: str, at_ms: float, who: str) -> None:
        """Hold what somebody was told against what the sandbox did."""
        moved = [post for post in self.index.posts_of(record) if post.carried_out]
        which = record.transfer_id
        if state == State.SUBMITTED:
            said = [p for p in moved if p.status == 200 and p.behaviour.partition(":")[0] in SAYS_YES]
            # Or it said to a later transfer of the call that this one is running.
            others = self.index.posts_of_calls.get(record.call_id, []) if moved else []
            said += [post for post in others if post.running == record.idempotency_key]
            # Or it told what became of it.
            said += moved if record.call_id in self.history.courses else []
            knew = any(post.at_ms <= at_ms + SLACK_MS for post in said)
            self._expect("truth", knew, which, f"{who} submitted; the sandbox never said so")
        elif state in NOT_MOVED:
            self._expect("truth", not moved, which, f"{who} {state}; the sandbox carried it out")
        if state == State.CANCELLED:
            after = [post for post in self.index.posts_of(record) if post.at_ms > at_ms + 5]
            self._expect("cancelled", not after, which, "was sent after it was cancelled")

    def _check_unknown(self, lines: list[Line], posts: list[Post]) -> None:
        begun_ms = 0.0
        for line in lines:
            if line.event == "attempt_started":
                begun_ms = line.at_ms
            elif line.event == "finished" and line.fields.get("state") == State.UNKNOWN:
                excuse = find_excuse(self.history, line, begun_ms, posts)
                reason = line.fields.get("reason")
                self._expect("honest_unknown", excuse, line.transfer_id, f"{reason} without a cause")
                self.verdict.unknown_because[excuse or "nothing we know of"] += 1

    def _check_served(self, record: TransferRecord, lines: list[Line]) -> None:
        """Nothing may lie about, claimed or not, while nothing stands in the way."""
        for line, following in pairwise(lines):
            if line.event not in {"accepted", "claimed", "requeued"}:
                continue
            until_ms = min(following.at_ms, record.expires_at_ms)
            too_long = next(self._find_neglect(line.at_ms, until_ms), None)
            self._expect("served", too_long is None, record.transfer_id, f"{too_long} after `{line.event}`")

    def _find_neglect(self, since_ms: float, until_ms: float) -> Iterator[str]:
        """Yield each calm span in which a worker could have started, and done what was to do."""
        for begun_ms, ended_ms in self._find_calm(since_ms, until_ms):
            calm_ms = ended_ms - begun_ms
            if calm_ms < SERVED_MS + START_MS:
                continue
            slowness = read_slowness(self.history.beats, begun_ms, ended_ms)
            if calm_ms >= SERVED_MS + START_MS * slowness:
                yield (
                    f"lay about for {calm_ms / 1000:.1f} s of calm, "
                    f"on a machine {slowness:.1f} times as slow as usual,"
                )

    def _find_calm(self, since_ms: float, until_ms: float) -> Iterator[tuple[float, float]]:
        """Yield the spans without any fault but those of publishers."""
        for fault in self.history.faults:
            if fault.target.startswith("p") and fault.target != "platform":
                continue
            if fault.begun_ms > since_ms:
                yield since_ms, min(fault.begun_ms, until_ms)
            since_ms = max(since_ms, fault.ended_ms)
            if since_ms >= until_ms:
                return
        yield since_ms, until_ms

    def _check_voice(self) -> None:
        posts_of = self.index.posts_of_calls
        for call_id in self.history.voice_calls:
            doubled = [*find_moved_twice(posts_of.get(call_id, []))]
            self._expect("moved_once", not doubled, call_id, "; ".join(doubled))
        for heard in self.history.heard:
            wrong = find_untruth(heard, posts_of.get(heard.call_id, []))
            self._expect("truth", wrong is None, heard.call_id, wrong or "")

    # --- one call

    def _check_call(self, records: list[TransferRecord]) -> None:
        for record, successor in pairwise(records):
            which, since_ms = successor.transfer_id, successor.accepted_at_ms
            endings = [
                line
                for line in self.index.lines.get(record.transfer_id, [])
                if line.event in {"finished", "resolved"} and line.at_ms <= since_ms
            ]
            state = endings[-1].fields.get("state") if endings else "open"
            self._expect(
                "one_at_a_time",
                state not in {"open", "unknown"},
                which,
                f"was accepted while {record.transfer_id} was {state}",
            )
            stale = [post for post in self.index.posts_of(record) if post.at_ms > since_ms + 5]
            self._expect("one_at_a_time", not stale, record.transfer_id, f"was sent after {which}")

    # --- one ask

    def _check_ask(self, ask: Ask) -> None:
        record = self.history.records.get(ask.transfer_id)
        if ask.action == "submit":
            took_ms = ask.answered_ms - ask.at_ms
            in_time = took_ms <= PUBLISH_BUDGET_MS + BUDGET_SLACK_MS or self._is_starved(ask)
            self._expect("budget", in_time, ask.transfer_id, f"was {took_ms:.0f} ms in submission")
        match ask.action, ask.reply:
            case "submit", "accepted":
                self._expect("ended", record, ask.transfer_id, "was accepted and has no record")
                self._check_deadline(ask, record)
            case "submit", "repeat" | "in_progress" | "conflict":
                self._check_standing_back(ask)
            case "celery", "sent" if record is None:
                excuse = find_loss_excuse(
                    self.history, ask.at_ms, CELERY_LOSS_MS, self.verdict.celery_lost_by
                )
                self._expect("ended", excuse, ask.transfer_id, "was sent over Celery and never seen again")
                self.verdict.celery_lost_by += [excuse] if excuse else []
            case "celery", _ if record is not None:
                lines = self.index.lines.get(ask.transfer_id, [])
                faults = [
                    *find_plain_faults(ask, record, lines, self.index.posts_of_calls.get(ask.call_id, []))
                ]
                self._expect("plain", not faults, ask.transfer_id, "; ".join(faults))
            case "cancel", "cancelled":
                is_cancelled = record is not None and record.state is State.CANCELLED
                self._expect("cancelled", is_cancelled, ask.transfer_id, "was cancelled, and is not")
                if record is not None:
                    self._check_word(record, State.CANCELLED, ask.answered_ms, "a session heard")
            case "outcome", "timeout" | "not_found":
                # Who asks before anything was accepted hears so; `about` is the state that was seen last.
                was_there = record is not None and record.accepted_at_ms < ask.at_ms
                self._expect("told", not was_there, ask.transfer_id, f"waited in vain ({ask.about})")
            case "outcome", state:
                self._expect("told", record, ask.transfer_id, "has an outcome and no record")
                if record is not None:
                    self._check_word(record, state, ask.answered_ms, "a session heard")

    def _check_deadline(self, ask: Ask, record: TransferRecord | None) -> None:
        """Hold the deadline on record against the one that the publisher meant, whatever its clock."""
        if record is None or ask.about != ask.transfer_id:
            return
        off_ms = record.expires_at_ms - ask.expires_ms
        is_right = abs(off_ms) <= DEADLINE_OFF_MS
        self._expect("deadline", is_right, ask.transfer_id, f"has a deadline that is {off_ms:.0f} ms off")

    def _is_starved(self, ask: Ask) -> bool:
        return any(f.target == "machine" for f in self.history.faults_between(ask.at_ms, ask.answered_ms))

    def _check_standing_back(self, ask: Ask) -> None:
        other = self.history.records.get(ask.about)
        if other is None:
            self._expect("repeats", False, ask.transfer_id, f"{ask.reply}: {ask.about} has no record")
            return
        is_same = other.call_id == ask.call_id and destination_of(other) == ask.to
        self._expect(
            "repeats",
            other.call_id == ask.call_id and is_same == (ask.reply == "repeat"),
            ask.transfer_id,
            f"{ask.reply} of {ask.about}, which has the {'same' if is_same else 'other'} destination",
        )


def _was_sending(lines: list[Line], ending: Line) -> bool:
    before = lines[: lines.index(ending)]
    return bool(before) and before[-1].event == "attempt_started"


def find_doubled(posts: list[Post]) -> Iterator[str]:
    """Yield the keys under which the platform carried out more than one request."""
    moved = Counter(post.key for post in posts if post.carried_out)
    yield from (key for key, count in moved.items() if count > 1)


_COURSE: Final = {
    ("", "accepted"): "waiting",
    ("", "finished"): "ended",  # refused before it was accepted
    ("waiting", "claimed"): "claimed",
    ("waiting", "requeued"): "waiting",
    ("waiting", "finished"): "ended",
    ("claimed", "attempt_started"): "sending",
    ("claimed", "requeued"): "waiting",
    ("claimed", "finished"): "ended",
    ("sending", "retry_scheduled"): "claimed",
    ("sending", "finished"): "ended",
    ("resolvable", "resolved"): "ended",
}
