"""The transfer service on a stage: a fake ledger, a fake gateway, a fake clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transfer_tasks.outcome import Reason, State
from transfer_worker.errors import NotCarriedOut, NotPermitted

if TYPE_CHECKING:
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.signature import Key, Written
    from transfer_worker.delivery.service import Performed

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


PIPELINE = [{"action": "connect", "params": {}, "endpoints": []}]


@dataclass
class AllowAll:
    """Rules that let everything through, or refuse it all."""

    refusal: NotPermitted | None = None
    asked: list[TransferIntent] = field(default_factory=list)

    def identify(self, written: Written) -> Key | None:
        return None

    def route(self, intent: TransferIntent, *, key: Key | None = None) -> list[dict[str, Any]]:
        self.asked.append(intent)
        if self.refusal:
            raise self.refusal
        return PIPELINE


def unavailable(**fields: Any) -> NotCarriedOut:
    return NotCarriedOut(reason=Reason.PLATFORM_UNAVAILABLE, http_status=503, **fields)


def ended(performed: Performed) -> tuple[State, Reason]:
    assert performed.outcome is not None
    return performed.outcome.state, performed.outcome.reason
