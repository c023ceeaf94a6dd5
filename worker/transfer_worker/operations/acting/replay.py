"""`call-transfer replay`: the same once more, where it is proven that the call was not moved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple
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


class Obstacle(NamedTuple):
    """Why a transfer can't be asked for again.

    Attributes:
        brief: The same for every transfer that it holds for.
        field: The argument or option that stands in the way.
    """

    brief: str
    field: str
    problem: str
    fix: str

    def refusal(self) -> OperationRefused:
        """Return what is told of it where one transfer was named."""
        return OperationRefused(field=self.field, problem=self.problem, fix=self.fix)


_MOVED: Final = {
    State.SUBMITTED: (
        "Piopiy has accepted it: the call has been moved",
        "Ask for another transfer with send.",
    ),
    State.UNKNOWN: (
        "it may have moved the call",
        "Find out in Piopiy's call log, and settle it: call-transfer resolve.",
    ),
}
_OPEN: Final = ("it has not ended", "Wait for it, or withdraw it: call-transfer cancel.")
_OVERTAKEN: Final = ("it has ended meanwhile", "Look at it, and ask again.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an operator asks for, of one transfer or of many.

    Attributes:
        tools: Where.
        operator: Who asks.
        reason: Why, for people to read, in a line: it has to fit into `requested_by`.
        for_seconds: A new deadline from now; else the old one holds.
    """

    tools: OperatorTools
    operator: str
    reason: str
    for_seconds: float | None

    def check(self, record: TransferRecord) -> TransferRecord:
        """Return the last transfer of a call if it leaves room for a replay.

        Raises:
            OperationRefused: It does not, or the deadline has passed.
            LedgerUnavailable: Redis did not answer in time.
        """
        last = self._read_last(record)
        if obstacle := self._judge(record, last):
            raise obstacle.refusal()
        return last

    def find_obstacle(self, record: TransferRecord) -> str:
        """Return in a few words why a transfer that nobody has named can't be asked for again.

        Only its call's last one is meant: the engineer who asks for many has compared none of them.

        Raises:
            LedgerUnavailable: Redis did not answer in time.
        """
        last = self._read_last(record)
        obstacle = self._judge(record, last)
        if obstacle is None and last.transfer_id != record.transfer_id:
            return "their call has had another transfer since"
        return obstacle.brief if obstacle else ""

    def ask_again(self, record: TransferRecord, *, last: TransferRecord) -> tuple[Accepted, TransferIntent]:
        """Ask for a transfer again, if its call has seen no other one meanwhile: the ledger judges.

        Args:
            record: The transfer. It need not be its call's last one; that one must not have moved the call.
            last: Its call's last one, as we have seen it.

        Raises:
            OperationRefused: The call has been moved, or may have been, or another transfer of it has come.
            InvalidIntent: The request on record is none for this version.
            LedgerUnavailable: Redis did not answer in time. It may have been accepted: see `show`.
        """
        tools = self.tools
        now_ms = read_clock_ms(tools.ledger)
        deadline_ms = (
            record.expires_at_ms if self.for_seconds is None else now_ms + round(self.for_seconds * 1000)
        )
        if deadline_ms <= now_ms:  # it has passed since we looked
            raise _name_deadline().refusal()
        requested_by = f"{self.operator}, replay of {record.transfer_id}: {self.reason}"
        intent = _build_intent(record, requested_by=requested_by, deadline_ms=deadline_ms)
        accepted = tools.ledger.run(
            build_accept(
                tools.commands,
                intent,
                queue=tools.settings.queue,
                # None of its own: under the old key, it would be a repeat of what has ended.
                idempotency_key="",
                asked={
                    "operator": self.operator,
                    "replay_of": record.transfer_id,
                    "detail": mask_text(self.reason),
                },
                after=last.transfer_id,
                signing_key=tools.settings.load_signing_key(),
            )
        )
        if accepted.verdict != "accepted":
            raise _name_last(accepted.transfer_id, accepted.state).refusal()
        return accepted, intent

    def _read_last(self, record: TransferRecord) -> TransferRecord:
        # A refused message has a record, and no place in its call's list.
        return (self.tools.ledger.read_call(record.call_id) or [record])[-1]

    def _judge(self, record: TransferRecord, last: TransferRecord) -> Obstacle | None:
        now_ms = read_clock_ms(self.tools.ledger)
        return _find_obstacle(record, last=last, now_ms=now_ms, for_seconds=self.for_seconds)


def _find_obstacle(
    record: TransferRecord, *, last: TransferRecord, now_ms: int, for_seconds: float | None
) -> Obstacle | None:
    """Return why a transfer can't be asked for again, as far as can be seen."""
    if record.is_compacted:
        return Obstacle(
            "they ended more than a day ago: what was asked is not kept",
            field="CALL_OR_TRANSFER_ID",
            problem=f"{record.transfer_id} ended more than a day ago: what was asked is not kept",
            fix="Ask for the transfer with send.",
        )
    if not record.intent_json:
        return Obstacle(
            "their request was erased, or could never be read",
            field="CALL_OR_TRANSFER_ID",
            problem=f"the request of {record.transfer_id} was erased, or could never be read",
            fix="Ask for the transfer with send.",
        )
    if record.reason is Reason.SIGNATURE_INVALID:
        # Signed by the operator, it would be carried out: whoever wrote it would have got what he wanted.
        return Obstacle(
            "nobody with a key has asked for them",
            field="CALL_OR_TRANSFER_ID",
            problem=f"nobody with a key has asked for {record.transfer_id}",
            fix="If you know that it is right, ask for it with send.",
        )
    if last.state.is_open or last.state in _MOVED:
        return _name_last(last.transfer_id, last.state)
    if for_seconds is None and record.expires_at_ms <= now_ms:
        return _name_deadline()
    return None


def _name_deadline() -> Obstacle:
    return Obstacle(
        "their deadline has passed (--for-seconds sets a new one)",
        field="--for-seconds",
        problem="the deadline has passed, and the caller may have gone",
        fix="If the caller is still there, set a new deadline: --for-seconds 15.",
    )


def _name_last(transfer_id: str, state: State) -> Obstacle:
    problem, fix = _MOVED.get(state, _OPEN if state.is_open else _OVERTAKEN)
    return Obstacle(
        f"their call's last transfer is {state}: {problem}",
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
