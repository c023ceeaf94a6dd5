"""What may be asked, and how to ask: the package that a voice process installs.

The names below are the front door. Each is imported when it is first used (PEP 562), so that ``import
transfer_tasks`` by itself costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from transfer_tasks.connection import Connection, ConnectionReason, ConnectionStatus
    from transfer_tasks.errors import (
        ConnectionTimeout,
        IdempotencyConflict,
        InvalidIntent,
        LedgerUnavailable,
        OutcomeTimeout,
        PublishOutcomeUnknown,
        PublishUnavailable,
        SettingsError,
        TransferInProgress,
        TransferNotFound,
        TransferTasksError,
        UnsupportedSchemaVersion,
    )
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.outcome import Reason, State, TransferOutcome
    from transfer_tasks.publisher import AsyncTransferPublisher, TransferPublisher

__all__ = [
    "AsyncTransferPublisher",
    "Connection",
    "ConnectionReason",
    "ConnectionStatus",
    "ConnectionTimeout",
    "IdempotencyConflict",
    "InvalidIntent",
    "LedgerUnavailable",
    "OutcomeTimeout",
    "PublishOutcomeUnknown",
    "PublishUnavailable",
    "Reason",
    "SettingsError",
    "State",
    "TransferInProgress",
    "TransferIntent",
    "TransferNotFound",
    "TransferOutcome",
    "TransferPublisher",
    "TransferTasksError",
    "UnsupportedSchemaVersion",
]

_MODULES: Final = {
    "AsyncTransferPublisher": "publisher",
    "Connection": "connection",
    "ConnectionReason": "connection",
    "ConnectionStatus": "connection",
    "Reason": "outcome",
    "State": "outcome",
    "TransferIntent": "intent",
    "TransferOutcome": "outcome",
    "TransferPublisher": "publisher",
}
"""Where a name comes from; all others are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
