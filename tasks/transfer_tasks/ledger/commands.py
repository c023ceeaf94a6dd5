"""The ledger's steps as values: which script, which arguments, and how to read the reply.

A `Command` knows no connection, so the asyncio publisher and the threaded worker run the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from transfer_tasks.ledger.verdicts import (
    Accepted,
    Begun,
    Claim,
    Ended,
    Lost,
    Missing,
    Open,
    Recovered,
    TryAgain,
    parse_accepted,
    parse_lost,
    parse_outcome,
)
from transfer_tasks.outcome import Reason, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script with the prelude in front."""

    name: str
    source: str
    sha: str


@cache
def load_script(name: str) -> Script:
    """Return the script `scripts/<name>.lua`."""
    folder = files("transfer_tasks.ledger") / "scripts"
    source = "".join((folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


class Command(NamedTuple, Generic[T]):
    """One step: run `script` with `arguments`, then `parse` its reply."""

    script: Script
    arguments: tuple[str | int, ...]
    parse: Callable[[Any], T]


class LedgerCommands:
    """Builds every step for one namespace. What each does, and replies, is said at the top of its script."""

    def __init__(self, *, namespace: str, retention_seconds: int) -> None:
        self._common: tuple[str | int, ...] = (namespace, retention_seconds)

    def _build(self, name: str, arguments: Sequence[str | int], parse: Callable[[Any], T]) -> Command[T]:
        return Command(load_script(name), (*self._common, *arguments), parse)

    def accept(
        self,
        *,
        transfer_id: str,
        call_id: str,
        idempotency_key: str,
        destination_digest: str,
        content_digest: str,
        intent_json: str,
        labels_json: str,
        message: str,
        queue: str,
        remaining_ms: int,
        repeat_window_ms: int,
        reply_to: str,
        asked_json: str,
        after: str = "",
        latest_ms: int | None = None,
    ) -> Command[Accepted]:
        """Accept a request, or find the transfer that stands in its way."""
        return self._build(
            "accept",
            (
                transfer_id,
                call_id,
                idempotency_key,
                destination_digest,
                content_digest,
                intent_json,
                labels_json,
                message,
                queue,
                remaining_ms,
                repeat_window_ms,
                reply_to,
                asked_json,
                after,
                "" if latest_ms is None else latest_ms,
            ),
            parse_accepted,
        )

    def claim(
        self, transfer_id: str, *, worker: str, claim_id: str, routed: str = ""
    ) -> Command[Claim | Ended | Open | Missing]:
        """Take the right to act on a waiting transfer; begin its attempt, too, if `routed` is its intent."""

        def parse(r: list[str]) -> Claim | Ended | Open | Missing:
            match r[0]:
                case "claimed" | "begun":
                    numbers = int(r[4]), int(r[5]), int(r[6])
                    return Claim(transfer_id, r[1], r[2], r[3], *numbers, r[7], is_begun=r[0] == "begun")
                case "ended":
                    return Ended(parse_outcome(r[1]))
                case "held":
                    return Open(State(r[1]), worker=r[2])
                case _:
                    return Missing()

        return self._build("claim", (transfer_id, worker, claim_id, routed), parse)

    def begin_attempt(self, claim: Claim, *, attempt: int) -> Command[Begun | Lost]:
        """Record an attempt before its request goes out."""
        return self._build(
            "begin_attempt",
            (claim.transfer_id, claim.token, attempt),
            lambda r: Begun(int(r[1])) if r[0] == "begun" else parse_lost(r),
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

        arguments = (
            claim.transfer_id,
            claim.token,
            state,
            reason,
            "" if http_status is None else http_status,
            detail,
            answer_json,
            attempt_ms,
            "" if wait_ms is None else wait_ms,
            "" if attempt is None else attempt,
        )
        return self._build("end_attempt", arguments, parse)

    def cancel(
        self, transfer_id: str, *, reason: Reason, source: str, detail: str
    ) -> Command[tuple[bool, Ended | Open | Missing]]:
        """Withdraw what has not been sent. The flag says whether the transfer is cancelled now."""

        def parse(r: list[str]) -> tuple[bool, Ended | Open | Missing]:
            match r[0]:
                case "cancelled" | "ended":
                    return r[0] == "cancelled", Ended(parse_outcome(r[1]))
                case "too_late":
                    return False, Open(State(r[1]))
                case _:
                    return False, Missing()

        return self._build("cancel", (transfer_id, reason, source, detail), parse)

    def expire(self, transfer_id: str, *, source: str) -> Command[Ended | Open | Missing]:
        """End a waiting transfer whose deadline has passed; else say where it stands."""

        def parse(r: list[str]) -> Ended | Open | Missing:
            match r[0]:
                case "ended":
                    return Ended(parse_outcome(r[1]))
                case "open":
                    return Open(State(r[1]), remaining_ms=int(r[2]))
                case _:
                    return Missing()

        return self._build("expire", (transfer_id, source), parse)

    def resolve(
        self, transfer_id: str, *, transferred: bool, source: str, detail: str
    ) -> Command[Ended | Lost | Missing]:
        """Settle an `unknown` by evidence."""
        state, reason = (
            (State.SUBMITTED, Reason.TRANSFER_CONFIRMED)
            if transferred
            else (State.FAILED, Reason.NOT_TRANSFERRED)
        )

        def parse(r: list[str]) -> Ended | Lost | Missing:
            match r[0]:
                case "ended":
                    return Ended(parse_outcome(r[1]))
                case "refused":
                    return parse_lost(r)
                case _:
                    return Missing()

        return self._build("resolve", (transfer_id, state, reason, source, detail), parse)

    def refuse(
        self,
        transfer_id: str,
        *,
        call_id: str,
        state: State,
        reason: Reason,
        detail: str,
        labels_json: str = "{}",
    ) -> Command[Ended | None]:
        """Give a message that can't become a transfer its one outcome; None where one is open already."""
        return self._build(
            "refuse",
            (transfer_id, call_id, state, reason, detail, labels_json),
            lambda r: Ended(parse_outcome(r)) if r else None,
        )

    def beat(self, *, worker: str, lease_ms: int, about_json: str) -> Command[None]:
        """Renew a worker's lease."""
        return self._build("beat", (worker, lease_ms, about_json), lambda _: None)

    def retire(self, *, worker: str) -> Command[None]:
        """Say that a worker has stopped in good order."""
        return self._build("retire", (worker,), lambda _: None)

    def recover(
        self,
        *,
        interval_ms: int,
        lease_ms: int,
        queue: str,
        attempt_bound_ms: int,
        limit: int,
        grace_ms: int,
    ) -> Command[Recovered]:
        """Take over from dead workers, and end what is overdue."""
        return self._build(
            "recover",
            (interval_ms, lease_ms, queue, attempt_bound_ms, limit, grace_ms),
            lambda r: Recovered(*(int(count) for count in r)),
        )

    def quarantine(
        self, *, transfer_id: str, why: str, element: str, size_bytes: int, max_entries: int
    ) -> Command[None]:
        """Keep a queue element that can't be served."""
        return self._build("quarantine", (transfer_id, why, element, size_bytes, max_entries), lambda _: None)
