"""The ledger's steps as values: which script, which arguments, and how to read the reply.

A `Command` knows no connection, so the asyncio publisher and the threaded worker run the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from transfer_tasks.ledger.request_commands import RequestCommands
from transfer_tasks.ledger.verdicts import (
    Begun,
    Claim,
    Ended,
    HeardWebhook,
    Heartbeat,
    Lost,
    Missing,
    Open,
    Poll,
    Reading,
    Recovered,
    Sight,
    TryAgain,
    describe_conflict,
    parse_lost,
    parse_outcome,
)
from transfer_tasks.outcome import Reason, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_tasks.ledger.script import Command


def _name(reading: Reading | None) -> dict[str, str | int]:
    """Return the arguments of a step that say what a worker has read; empty ones for nothing."""
    if reading is None:
        return {"call": "", "destination": "", "derived": "", "signer": "", "signed_ms": ""}
    return {
        "call": reading.call_id,
        "destination": reading.labels["destination"],
        "derived": to_json(reading.labels).decode(),
        "signer": reading.signer,
        "signed_ms": "" if reading.signed_ms is None else reading.signed_ms,
    }


class LedgerCommands(RequestCommands):
    """Builds every step for one namespace. What each does, and replies, is said at the top of its script."""

    def claim(
        self, transfer_id: str, *, worker: str, claim_id: str, routed: Reading | None = None
    ) -> Command[Claim | Ended | Open | Missing]:
        """Take the right to act on a waiting transfer; begin its attempt, too, if `routed` is its intent."""

        def parse(r: list[str]) -> Claim | Ended | Open | Missing:
            match r[0]:
                case "claimed" | "begun":
                    numbers = int(r[4]), int(r[5]), int(r[6])
                    return Claim(transfer_id, r[1], r[2], r[3], *numbers, r[7], r[0] == "begun", r[8])
                case "ended":
                    return Ended(parse_outcome(r[1]))
                case "held":
                    return Open(State(r[1]), worker=r[2])
                case _:
                    return Missing()

        return self._build(
            "claim",
            parse,
            transfer_id=transfer_id,
            worker=worker,
            claim_id=claim_id,
            routed=routed.intent_json if routed else "",
            **_name(routed),
        )

    def begin_attempt(
        self, claim: Claim, *, attempt: int, reading: Reading | None = None
    ) -> Command[Begun | Lost]:
        """Record an attempt before its request goes out."""
        return self._build(
            "begin_attempt",
            lambda r: Begun(int(r[1])) if r[0] == "begun" else parse_lost(r),
            transfer_id=claim.transfer_id,
            token=claim.token,
            attempt=attempt,
            **_name(reading),
        )

    def end_attempt(
        self,
        claim: Claim,
        *,
        state: State,
        reason: Reason,
        http_status: int | None,
        detail: str,
        answer_json: str,
        attempt_ms: int,
        wait_ms: int | None = None,
        attempt: int | None = None,
    ) -> Command[Ended | TryAgain | Lost]:
        """Record what an attempt taught us: an ending, or (state `claimed`) a wait for the next."""

        def parse(r: list[str]) -> Ended | TryAgain | Lost:
            match r[0]:
                case "ended":
                    return Ended(parse_outcome(r[1]))
                case "again":
                    return TryAgain()
                case _:
                    return parse_lost(r)

        return self._build(
            "end_attempt",
            parse,
            transfer_id=claim.transfer_id,
            token=claim.token,
            state=state,
            reason=reason,
            http_status="" if http_status is None else http_status,
            detail=detail,
            answer=answer_json,
            attempt_ms=attempt_ms,
            wait_ms="" if wait_ms is None else wait_ms,
            after_attempt="" if attempt is None else attempt,
        )

    def refuse(
        self,
        transfer_id: str,
        *,
        call_id: str,
        state: State,
        reason: Reason,
        detail: str,
        labels_json: str = "{}",
        content_digest: str = "",
    ) -> Command[Ended | None]:
        """Give a message that can't become a transfer its one outcome; None where one is open already.

        Where the id belongs to something else (the digests differ), the outcome is the message's alone.
        """

        def parse(r: list[str]) -> Ended | None:
            match r[0]:
                case "ended":
                    return Ended(parse_outcome(r[1]))
                case "conflict":
                    return Ended(describe_conflict(transfer_id, call_id=call_id))
                case _:
                    return None

        return self._build(
            "refuse",
            parse,
            transfer_id=transfer_id,
            call_id=call_id,
            state=state,
            reason=reason,
            detail=detail,
            labels=labels_json,
            content_digest=content_digest,
        )

    def forbid(self, transfer_id: str, *, judged: str, reason: Reason, detail: str) -> Command[Ended | None]:
        """End what waits with this intent, and that the rules don't allow; None where it is anything else."""
        return self._build(
            "forbid",
            lambda r: Ended(parse_outcome(r[1])) if r[0] == "ended" else None,
            transfer_id=transfer_id,
            judged=judged,
            reason=reason,
            detail=detail,
        )

    def sight(
        self, transfer_id: str, *, is_needed: bool, is_moved: bool, empty_ms: int, after: str
    ) -> Command[Sight]:
        """See a message that brings its own intent, and keep what is known of its age."""
        return self._build(
            "sight",
            lambda r: Sight(now_ms=int(r[0]), sent_after_ms=int(r[1])),
            transfer_id=transfer_id,
            is_needed="1" if is_needed else "",
            is_moved="1" if is_moved else "",
            empty_ms=empty_ms,
            after=after,
        )

    def heartbeat(self, *, worker: str, lease_ms: int, about_json: str, queue: str) -> Command[Heartbeat]:
        """Renew a worker's lease."""
        return self._build(
            "heartbeat",
            lambda r: Heartbeat(
                now_ms=int(r[0]), empty_ms=int(r[1]), has_limits=bool(r[2]), has_polls=bool(r[3])
            ),
            worker=worker,
            lease_ms=lease_ms,
            about=about_json,
            queue=queue,
        )

    def set_limits(self, limits: Mapping[str, str], *, worker: str) -> Command[bool]:
        """Put a registry's limits on rate in force; whether others were before."""
        return self._build("set_limits", bool, limits=to_json(limits).decode(), worker=worker)

    def retire(self, *, worker: str) -> Command[None]:
        """Say that a worker has stopped gracefully."""
        return self._build("retire", lambda _: None, worker=worker)

    def recover(
        self,
        *,
        interval_ms: int,
        lease_ms: int,
        queue: str,
        attempt_bound_ms: int,
        limit: int,
        grace_ms: int,
        audit_group: str,
        audit_kept: int,
        audit_bound: int,
        notification: str,
    ) -> Command[Recovered]:
        """Take over from dead workers, and end what is overdue."""
        return self._build(
            "recover",
            lambda r: Recovered(*(int(count) for count in r)),
            interval_ms=interval_ms,
            lease_ms=lease_ms,
            queue=queue,
            attempt_bound_ms=attempt_bound_ms,
            limit=limit,
            grace_ms=grace_ms,
            audit_group=audit_group,
            audit_kept=audit_kept,
            audit_bound=audit_bound,
            notification=notification,
        )

    def take_poll(self, *, lease_ms: int, pace_ms: int, max_polls: int) -> Command[Poll | float | None]:
        """Take the right to ask how a request went; else the seconds until it is worth to come again."""

        def parse(r: list[str]) -> Poll | float | None:
            if r[0] == "ask":
                return Poll(request_id=r[1], call_id=r[2], number=int(r[3]))
            return int(r[1]) / 1000 if r[1] else None

        return self._build("take_poll", parse, lease_ms=lease_ms, pace_ms=pace_ms, max_polls=max_polls)

    def end_poll(
        self, poll: Poll, *, seen: str, wait_ms: int | None, hold_ms: int | None = None
    ) -> Command[None]:
        """Record what a question taught us: nothing more to learn (no `wait_ms`), or a wait for the next."""
        return self._build(
            "end_poll",
            lambda _: None,
            request_id=poll.request_id,
            number=poll.number,
            seen=seen,
            wait_ms="" if wait_ms is None else wait_ms,
            hold_ms="" if hold_ms is None else hold_ms,
        )

    def hear_webhook(self, conversation: str, *, call_id: str = "", body: str = "") -> Command[HeardWebhook]:
        """Learn which call a conversation is, or ask for it and keep what comes before it is known."""
        return self._build(
            "hear_webhook",
            lambda r: HeardWebhook(call_id=r[0], kept=tuple(r[1:])),
            conversation=conversation,
            call_id=call_id,
            body=body,
        )

    def note_command(self, command: str, *, worker: str, is_obeyed: bool, detail: str) -> Command[None]:
        """Write down that remote control has asked a worker for more than a look."""
        return self._build(
            "note_command",
            lambda _: None,
            worker=worker,
            event="control.obeyed" if is_obeyed else "control.refused",
            command=command,
            detail=detail,
        )

    def audit_backlog(self, *, audit_group: str, limit: int) -> Command[list[Any]]:
        """Ask how far the writers of the audit log are behind."""
        return self._build("audit_backlog", list, audit_group=audit_group, limit=limit)

    def read_counts(self, *, newest: int = 0, slices: int = 0) -> Command[list[Any]]:
        """Ask for everything that was counted since the beginning, and in slices of ten seconds."""
        return self._build("read_counts", list, newest=newest, slices=slices)

    def quarantine(
        self,
        *,
        transfer_id: str,
        why: str,
        element: str,
        size_bytes: int,
        max_entries: int,
        audit_group: str = "",
        audit_entry: str = "",
    ) -> Command[None]:
        """Keep a queue message that can't be served, or an audit entry that can't be read."""
        return self._build(
            "quarantine",
            lambda _: None,
            transfer_id=transfer_id,
            why=why,
            element=element,
            size_bytes=size_bytes,
            max_entries=max_entries,
            audit_group=audit_group,
            audit_entry=audit_entry,
        )
