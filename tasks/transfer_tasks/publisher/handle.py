"""One transfer that was accepted, for event loops: wait for its outcome, withdraw it, settle it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer_tasks.errors import TransferNotFound
from transfer_tasks.ledger.verdicts import Missing
from transfer_tasks.outcome import Reason

if TYPE_CHECKING:
    from transfer_tasks.connection import Connection
    from transfer_tasks.outcome import TransferOutcome
    from transfer_tasks.publisher.asynchronous import AsyncTransferPublisher


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncTransferHandle:
    """One transfer that was accepted.

    Attributes:
        transfer_id: The transfer's id; the same in the audit log and in Flower.
        idempotency_key: What makes it the same transfer; sent to the platform, too.
        hop: Which transfer of its call this is: its ordinal, from 1.
        is_repeat: Whether another, earlier intent stands behind this handle.
    """

    publisher: AsyncTransferPublisher
    transfer_id: str
    idempotency_key: str
    hop: int
    is_repeat: bool

    async def outcome(self, timeout: float | None = None) -> TransferOutcome:  # noqa: ASYNC109 - the wait is ours
        """Wait until it is known how the transfer ended.

        Args:
            timeout: In seconds; by default until the deadline and 15 s more, when every ending is due. While
                Redis does not answer at all, 30 s.

        Raises:
            OutcomeTimeout: It is not known yet; the transfer goes on.
            TransferNotFound: The record is gone.
        """
        return await self.publisher.wait(self.transfer_id, timeout=timeout)

    async def connection(self, timeout: float | None = None) -> Connection | None:  # noqa: ASYNC109 - the wait is ours
        """Wait until somebody says whether anybody picked up: the second fact, after the outcome.

        Args:
            timeout: In seconds, the outcome included; by default until the outcome and 150 s more.

        Returns:
            `connected` or `not_connected`; None where the request never reached the platform, or was proven
            not to have been carried out.

        Raises:
            OutcomeTimeout: Not even the outcome is known yet.
            ConnectionTimeout: Nobody has said yet. Where no source reports, nobody ever will.
            TransferNotFound: The record is gone.
        """
        return await self.publisher.wait_for_connection(self.transfer_id, timeout=timeout)

    async def cancel(self, *, detail: str = "") -> bool:
        """Withdraw the transfer if it has not been sent; say whether it is cancelled now.

        Raises:
            LedgerUnavailable: Redis did not answer in time; calling again is safe.
            TransferNotFound: The record is gone.
        """
        cancelled, seen = await self.publisher.run(
            self.publisher.commands.cancel(
                self.transfer_id, reason=Reason.CANCELLED_BY_SESSION, source="session", detail=detail
            )
        )
        if isinstance(seen, Missing):
            raise TransferNotFound(self.transfer_id)
        return cancelled

    async def report_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Settle an `unknown` transfer: the call has left the session. Moved, or hung up: it is over.

        Args:
            detail: What was seen, for the record; no numbers.

        Returns:
            The outcome on record now: another one where the truth came from elsewhere first; None while the
            transfer is open.

        Raises:
            LedgerUnavailable: Redis did not answer in time; calling again is safe.
            TransferNotFound: The record is gone.
        """
        return await self._resolve(transferred=True, detail=detail)

    async def report_not_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Settle an `unknown` transfer: the session holds the call when nothing can be ringing any more.

        Only then: while the target rings, the platform leaves the agent with the caller (see
        `transfer_tasks.registry.ring_time`). As `report_transferred`. If the outcome's reason is
        `not_transferred`, asking again is a new transfer.
        """
        return await self._resolve(transferred=False, detail=detail)

    async def _resolve(self, *, transferred: bool, detail: str) -> TransferOutcome | None:
        commands = self.publisher.commands
        seen = await self.publisher.run(
            commands.resolve(self.transfer_id, transferred=transferred, source="session", detail=detail)
        )
        if isinstance(seen, Missing):
            raise TransferNotFound(self.transfer_id)
        return seen.outcome
