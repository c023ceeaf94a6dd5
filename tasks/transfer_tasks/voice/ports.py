"""What a session needs of a publisher, as it needs it: so that tests and other queues can take its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from transfer_tasks.connection import Connection, ConnectionReport, ReportResult
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.outcome import TransferOutcome


class Handle(Protocol):
    """What a session needs of `AsyncTransferHandle`."""

    @property
    def transfer_id(self) -> str: ...  # noqa: D102 - as in AsyncTransferHandle, and so below
    async def outcome(self, timeout: float | None = None) -> TransferOutcome: ...  # noqa: ASYNC109, D102
    async def connection(self, timeout: float | None = None) -> Connection | None: ...  # noqa: ASYNC109, D102
    async def cancel(self, *, detail: str = "") -> bool: ...  # noqa: D102
    async def report_transferred(self, *, detail: str = "") -> TransferOutcome | None: ...  # noqa: D102
    async def report_not_transferred(self, *, detail: str = "") -> TransferOutcome | None: ...  # noqa: D102


class Publisher(Protocol):
    """What a session needs of `AsyncTransferPublisher`."""

    async def check(self, intent: TransferIntent) -> None: ...  # noqa: D102 - as in AsyncTransferPublisher
    async def submit(self, intent: TransferIntent) -> Handle: ...  # noqa: D102
    def handle(self, transfer_id: str) -> Handle: ...  # noqa: D102
    async def report_connection(self, report: ConnectionReport) -> ReportResult: ...  # noqa: D102
    async def close(self) -> None: ...  # noqa: D102
