"""`call-transfer replay`: the same once more, where it is proven that the call was not moved."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from transfer_tasks.intent import TransferIntent
from transfer_tasks.masking import mask_text
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.acceptance import build_accept
from transfer_worker.errors import OperationRefused
from transfer_worker.operations.lookup import read_clock_ms
from transfer_worker.settings import is_this_machine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transfer_tasks.ledger.record import TransferRecord
    from transfer_tasks.ledger.verdicts import Accepted
    from transfer_worker.monitoring.present import WorkerStatus
    from transfer_worker.operations.lookup import OperatorTools

_WHY_NOT: Final = {
    State.SUBMITTED: (
        "Piopiy has accepted it: the call has been moved",
        "Ask for another transfer with send.",
    ),
    State.UNKNOWN: (
        "it may have moved the call",
        "Find out in Piopiy's call log, and settle it: call-transfer resolve.",
    ),
}
_WHY_NOT_OPEN: Final = ("it has not ended", "Wait for it, or withdraw it: call-transfer cancel.")


def replay(
    tools: OperatorTools, record: TransferRecord, *, operator: str, reason: str, for_seconds: float | None
) -> tuple[Accepted, TransferIntent]:
    """Ask for a transfer again.

    Args:
        tools: Where.
        record: The transfer. It need not be its call's last one; that one must not have moved the call.
        operator: Who asks.
        reason: Why, for people to read, in a line: it has to fit into `requested_by`.
        for_seconds: A new deadline from now; else the old one holds.

    Raises:
        OperationRefused: The call has been moved, or may have been; or its deadline has passed.
        InvalidIntent: The request on record is none for this version.
        LedgerUnavailable: Redis did not answer in time. It may have been accepted: see `show`.
    """
    last = check_replay(tools, record, for_seconds=for_seconds)
    now_ms = read_clock_ms(tools.ledger)
    deadline_ms = record.expires_at_ms if for_seconds is None else now_ms + round(for_seconds * 1000)
    requested_by = f"{operator}, replay of {record.transfer_id}: {reason}"
    intent = _build_intent(record, requested_by=requested_by, deadline_ms=deadline_ms)
    accepted = tools.ledger.run(
        build_accept(
            tools.commands,
            intent,
            queue=tools.settings.queue,
            # None of its own: under the old key, it would be a repeat of what has ended.
            idempotency_key="",
            asked={"operator": operator, "replay_of": record.transfer_id, "detail": mask_text(reason)},
            after=last.transfer_id,
            signing_key=tools.settings.load_signing_key(),
        )
    )
    if accepted.verdict != "accepted":
        raise _refuse(accepted.transfer_id, accepted.state)
    return accepted, intent


def check_replay(
    tools: OperatorTools, record: TransferRecord, *, for_seconds: float | None
) -> TransferRecord:
    """Return the last transfer of the call if it leaves room for a replay. The ledger judges once more.

    Raises:
        OperationRefused: It does not, or the deadline has passed.
        LedgerUnavailable: Redis did not answer in time.
    """
    if not record.intent_json:
        raise OperationRefused(
            field="CALL_OR_TRANSFER_ID",
            problem=f"the request of {record.transfer_id} could never be read",
            fix="Ask for the transfer with send.",
        )
    if record.reason is Reason.SIGNATURE_INVALID:
        # Signed by the operator, it would be carried out: whoever wrote it would have got what he wanted.
        raise OperationRefused(
            field="CALL_OR_TRANSFER_ID",
            problem=f"nobody with a key has asked for {record.transfer_id}",
            fix="If you know that it is right, ask for it with send.",
        )
    last = tools.ledger.read_call(record.call_id)[-1]
    if last.state.is_open or last.state in _WHY_NOT:
        raise _refuse(last.transfer_id, last.state)
    if for_seconds is None and record.expires_at_ms <= read_clock_ms(tools.ledger):
        raise OperationRefused(
            field="--for-seconds",
            problem="the deadline has passed, and the caller may have gone",
            fix="If the caller is still there, set a new deadline: --for-seconds 15.",
        )
    return last


def _refuse(transfer_id: str, state: State) -> OperationRefused:
    problem, fix = _WHY_NOT.get(state, _WHY_NOT_OPEN)
    return OperationRefused(
        field="CALL_OR_TRANSFER_ID",
        problem=f"the call's last transfer, {transfer_id}, is {state}: {problem}",
        fix=fix,
    )


def _build_intent(record: TransferRecord, *, requested_by: str, deadline_ms: int) -> TransferIntent:
    try:
        fields = dict(json.loads(record.intent_json))
    except (ValueError, TypeError, RecursionError):
        raise OperationRefused(
            field="CALL_OR_TRANSFER_ID",
            problem=f"the request of {record.transfer_id} can't be read",
            fix="Ask for it anew: call-transfer send.",
        ) from None
    for name in ("transfer_id", "idempotency_key", "expires_at"):
        fields.pop(name, None)
    return TransferIntent.from_elsewhere(
        {
            **fields,
            "requested_by": requested_by,
            "expires_at": datetime.fromtimestamp(deadline_ms / 1000, UTC).isoformat(),
        }
    )


def find_real_platforms(workers: Iterable[WorkerStatus]) -> list[str]:
    """Return the platforms, other than a fake on their own machine, that living workers send to.

    Where no worker lives, or one does not say, it may be the real one: that is ``unknown``.
    """
    named = {str(worker.about.get("platform", "")) for worker in workers if worker.is_alive} or {""}
    return sorted(
        name or "unknown"
        for name in named
        if not name or not is_this_machine(urlsplit(f"//{name}").hostname or "")
    )
