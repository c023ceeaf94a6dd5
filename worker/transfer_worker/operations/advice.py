"""`call-transfer why`: the closed reason, what it means, and what to do next, with the command for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.masking import mask_text
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_worker.monitoring.present import read_present

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger
    from transfer_tasks.ledger.record import TransferRecord

_OPEN: Final = {
    State.WAITING: (
        "It is on the queue, and no worker has claimed it yet.",
        "See whether workers run and how old the oldest waiting transfer is.",
    ),
    State.CLAIMED: (
        "A worker has claimed it: it is about to send, or waits before it tries again.",
        "Wait: it ends by its deadline.",
    ),
    State.SENDING: ("A request is out, and its answer is awaited.", "Wait: it ends within seconds."),
}


_UNREADABLE: Final = (
    "Its record can't be read.",
    "The sweep sets it aside, and it ends as unknown. Find out who else writes to this Redis.",
)


def explain(record: TransferRecord, ledger: Ledger) -> dict[str, Any]:
    """Return why a transfer stands where it stands, as plain, masked JSON values.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    if record.reason is None or record.state.is_open:
        meaning, next_step = _OPEN.get(record.state, _UNREADABLE)
        if record.state is State.WAITING and not any(w.is_alive for w in read_present(ledger).workers):
            meaning, next_step = "It is on the queue, and no worker runs.", "Start one: call-transfer worker."
    else:
        meaning, next_step = GUIDE[record.reason].meaning, GUIDE[record.reason].next_step
    return {
        "transfer_id": record.transfer_id,
        "call_id": record.call_id,
        "state": record.state.value,
        "reason": record.reason and record.reason.value,
        **record.labels,
        "source": record.source or None,
        "attempts": record.attempts,
        "http_status": record.http_status,
        "detail": mask_text(record.detail),
        "meaning": meaning,
        "next_step": next_step,
        "commands": _commands(record),
    }


def _commands(record: TransferRecord) -> list[str]:
    """Return the commands that come next, ready to be pasted."""
    show, transfer_id = f"call-transfer show {record.transfer_id}", record.transfer_id
    if record.state.is_open:
        cancel = [] if record.state is State.SENDING else [f"call-transfer cancel {transfer_id} --reason …"]
        return [show, *cancel]
    if record.state is State.UNKNOWN:
        return [
            show,
            f"call-transfer resolve {transfer_id} --transferred --reason …",
            f"call-transfer resolve {transfer_id} --not-transferred --reason …",
        ]
    if record.reason is Reason.DESTINATION_PAUSED:
        return [show, "call-transfer status", f"call-transfer resume {record.labels.get('destination', '')}"]
    if record.reason is Reason.UNAUTHORIZED:
        return [show, "call-transfer doctor"]
    if record.reason and GUIDE[record.reason].may_retry and record.intent_json:
        return [show, f"call-transfer replay {transfer_id} --for-seconds 15 --reason …"]
    return [show]


def write_paragraph(told: dict[str, Any]) -> str:
    """Return the same for people."""
    reason = f" ({told['reason']})" if told["reason"] else ""
    to = f"{told.get('destination', '?')} {told.get('to', '')}".strip()
    facts = [f"to {to}", f"attempts {told['attempts']}"]
    if told["http_status"] is not None:
        facts.append(f"HTTP {told['http_status']}")
    if told["source"]:
        facts.append(f"says the {told['source']}")
    lines = [f"{told['state']}{reason}: {', '.join(facts)}", f"  means  {told['meaning']}"]
    if told["detail"]:
        lines.append(f"  detail {told['detail']}")
    lines.append(f"  next   {told['next_step']}")
    return "\n".join(lines + [f"         {command}" for command in told["commands"]])
