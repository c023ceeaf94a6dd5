"""A request that may be queued, and that nobody wants any more."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from transfer_tasks.errors import LedgerUnavailable, TransferNotFound

if TYPE_CHECKING:
    from transfer_tasks.voice.ports import Handle

log = logging.getLogger(__name__)

WITHDRAW_SECONDS: Final = 60.0
WITHDRAW_PAUSE_SECONDS: Final = 0.25


async def withdraw(handle: Handle, *, detail: str) -> bool:
    """Cancel one request; say whether it is cancelled.

    One whose answer was lost may reach the ledger late: so a missing record is looked for again.
    """
    now = asyncio.get_running_loop().time
    give_up_at = now() + WITHDRAW_SECONDS
    while True:
        try:
            return await handle.cancel(detail=detail)
        except (LedgerUnavailable, TransferNotFound) as error:
            if now() >= give_up_at:
                log.warning("Transfer %s could not be withdrawn: %s", handle.transfer_id, error)
                return isinstance(error, TransferNotFound)
        await asyncio.sleep(WITHDRAW_PAUSE_SECONDS)
