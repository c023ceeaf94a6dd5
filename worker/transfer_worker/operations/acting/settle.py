"""`call-transfer resolve` and `cancel`: a transfer gets its end from an operator, whose name is on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer_tasks.connection import ConnectionReport, ConnectionStatus, ReportSource, ReportVerdict
from transfer_tasks.ledger.verdicts import Ended
from transfer_tasks.masking import mask_text
from transfer_tasks.outcome import Reason
from transfer_worker.errors import OperationRefused

if TYPE_CHECKING:
    from transfer_tasks.connection import ReportResult
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_tasks.outcome import TransferOutcome
    from transfer_worker.operations.lookup import OperatorTools


def settle(
    tools: OperatorTools, record: TransferRecord, *, transferred: bool, operator: str, reason: str
) -> TransferOutcome:
    """Settle an unknown by evidence; settled so before is the same.

    Raises:
        OperationRefused: It is not unknown, or has gone.
        LedgerUnavailable: Redis did not answer in time; the same again is safe.
    """
    seen = tools.ledger.run(
        tools.commands.resolve(
            record.transfer_id,
            transferred=transferred,
            source="operator",
            detail=f"{operator}: {mask_text(reason)}",
        )
    )
    if not isinstance(seen, Ended):
        raise _refuse(record, f"{record.transfer_id} is {record.state}, and only an unknown can be settled")
    return seen.outcome


def settle_connection(
    tools: OperatorTools, record: TransferRecord, *, connected: bool, operator: str, reason: str
) -> ReportResult:
    """Say whether anybody picked up; that settles an unknown, too. Said so before is the same.

    Raises:
        OperationRefused: It was never at the platform, or somebody has said otherwise before.
        LedgerUnavailable: Redis did not answer in time; the same again is safe.
    """
    report = ConnectionReport(
        call_id=record.call_id,
        request_id="",
        transfer_id=record.transfer_id,
        status=ConnectionStatus.CONNECTED if connected else ConnectionStatus.NOT_CONNECTED,
        source=ReportSource.OPERATOR,
    )
    detail = f"{operator}: {mask_text(reason)}"
    seen = tools.ledger.run(tools.commands.report_connection(report, detail=detail))
    if seen.verdict is ReportVerdict.REFUSED:
        raise _refuse(record, f"{record.transfer_id} is {record.state}: it connects nobody")
    told = seen.connection
    if told is None or told.status is not report.status:
        said = f"{told.status}, says the {told.source}" if told else "nothing"
        raise _refuse(
            record, f"its record says {said}; the first final stands, and your word is kept beside it"
        )
    return seen


def withdraw(tools: OperatorTools, record: TransferRecord, *, operator: str, reason: str) -> TransferOutcome:
    """Withdraw what has not been sent; withdrawn before is the same.

    Raises:
        OperationRefused: It is being sent, or has ended otherwise.
        LedgerUnavailable: Redis did not answer in time; the same again is safe.
    """
    is_cancelled, seen = tools.ledger.run(
        tools.commands.cancel(
            record.transfer_id,
            reason=Reason.CANCELLED_BY_OPERATOR,
            source="operator",
            detail=f"{operator}: {mask_text(reason)}",
        )
    )
    if not is_cancelled or not isinstance(seen, Ended):
        stands = f"has ended {seen.outcome.state}" if isinstance(seen, Ended) else "is being sent"
        raise _refuse(record, f"too late: {record.transfer_id} {stands}")
    return seen.outcome


def _refuse(record: TransferRecord, problem: str) -> OperationRefused:
    return OperationRefused(
        field="CALL_OR_TRANSFER_ID", problem=problem, fix=f"See: call-transfer show {record.transfer_id}"
    )
