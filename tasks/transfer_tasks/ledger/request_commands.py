"""The steps of whoever asks: accept, withdraw, look whether the deadline is over, settle by evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from transfer_tasks.connection import Connection, ReportResult, ReportVerdict
from transfer_tasks.ledger.keys import NAMESPACE
from transfer_tasks.ledger.script import Command, load_script
from transfer_tasks.ledger.verdicts import (
    Accepted,
    Ended,
    Known,
    Lost,
    Missing,
    Open,
    parse_accepted,
    parse_lost,
    parse_outcome,
)
from transfer_tasks.masking import mask_text
from transfer_tasks.outcome import Reason, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_tasks.connection import ConnectionReport

T = TypeVar("T")


RING_SECONDS: Final = 120.0
"""How long a target counts as ringing where nobody can say: the longest that the platform takes for one."""

_FREE_TEXTS: Final = frozenset({"command", "detail", "operator", "reason", "why"})
"""What people or other systems have said: masked here, whoever hands it over."""


class RequestCommands:
    """Builds the steps of a publisher; those of a worker and of operators are built upon it."""

    def __init__(self, *, retention_seconds: int, namespace: str = NAMESPACE) -> None:
        self._common: tuple[str | int, ...] = (namespace, retention_seconds)

    def _build(self, script_name: str, parse: Callable[[Any], T], **arguments: str | int) -> Command[T]:
        script = load_script(script_name)
        for name in _FREE_TEXTS.intersection(arguments):
            arguments[name] = mask_text(str(arguments[name]))
        return Command(script, (*self._common, *script.order(arguments)), parse)

    def accept(
        self,
        *,
        transfer_id: str,
        call_id: str,
        idempotency_key: str,
        destination_digest: str,
        content_digest: str,
        intent_json: str,
        signature: str = "",
        labels_json: str,
        message: str,
        queue: str,
        remaining_ms: int | None,
        repeat_window_ms: int,
        reply_to: str,
        asked_json: str,
        after: str = "",
        latest_ms: int,
    ) -> Command[Accepted]:
        """Accept a request, or find the transfer that stands in its way."""
        return self._build(
            "accept",
            parse_accepted,
            transfer_id=transfer_id,
            call_id=call_id,
            idempotency_key=idempotency_key,
            destination_digest=destination_digest,
            content_digest=content_digest,
            intent=intent_json,
            signature=signature,
            labels=labels_json,
            message=message,
            queue=queue,
            remaining_ms="" if remaining_ms is None else remaining_ms,
            repeat_window_ms=repeat_window_ms,
            reply_to=reply_to,
            asked=asked_json,
            after=after,
            latest_ms=latest_ms,
        )

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

        return self._build(
            "cancel", parse, transfer_id=transfer_id, reason=reason, source=source, detail=detail
        )

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

        return self._build("expire", parse, transfer_id=transfer_id, source=source)

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

        return self._build(
            "resolve",
            parse,
            transfer_id=transfer_id,
            state=state,
            reason=reason,
            source=source,
            detail=detail,
        )

    def read_connection(self, transfer_id: str) -> Command[Known | Missing]:
        """Look whether anybody picked up."""

        def parse(r: list[str]) -> Known | Missing:
            return Missing() if r[0] == "missing" else Known(State(r[0]), Connection.from_json(r[1]))

        return self._build("read_connection", parse, transfer_id=transfer_id)

    def report_connection(
        self, report: ConnectionReport, *, longest_ring_seconds: float | None = None, detail: str = ""
    ) -> Command[ReportResult]:
        """Put on record what a source says of a request; it sends nothing.

        Args:
            report: What is said.
            longest_ring_seconds: How long the request may ring (`transfer_tasks.registry.ring_time`): with
                `ringing`, no other request of the call is accepted meanwhile. None where nobody can say.
            detail: For an engineer's word: who, and what was seen.
        """

        def parse(r: list[str]) -> ReportResult:
            return ReportResult(
                verdict=ReportVerdict(r[0]),
                transfer_id=r[1],
                state=State(r[2]) if r[2] else None,
                connection=Connection.from_json(r[3]) if r[3] else None,
            )

        return self._build(
            "report_connection",
            parse,
            transfer_id=report.transfer_id,
            call_id=report.call_id,
            request_id=report.request_id,
            status=report.status,
            reason=report.reason or "",
            caller_gone="1" if report.caller_gone else "",
            source=report.source,
            at_ms=round(report.at.timestamp() * 1000) if report.at else "",
            ring_ms=round((RING_SECONDS if longest_ring_seconds is None else longest_ring_seconds) * 1000),
            detail=detail,
        )
