"""`call-transfer quarantine`: queue messages that could not be served."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.masking import mask_text
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.operations.describe import as_time

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger

_ID_LENGTH: Final = 10


@dataclass(frozen=True, slots=True)
class Poison:
    """One entry.

    Attributes:
        entry: As it stands in the ledger; may hold full numbers.
    """

    entry: str

    @property
    def poison_id(self) -> str:
        """What it is called by; new poison does not change it."""
        return sha256(self.entry.encode()).hexdigest()[:_ID_LENGTH]

    def describe(self, *, is_whole: bool) -> dict[str, Any]:
        """Return it as plain, masked JSON values; with the beginning of the element, if that is wanted."""
        try:
            said = json.loads(self.entry)
            shown = {
                "id": self.poison_id,
                "at": as_time(said["at_ms"]),
                "why": mask_text(said["why"]),
                "transfer_id": mask_text(said["transfer_id"]) or None,
                "size_bytes": int(said["size_bytes"]),
            }
            element = mask_text(said["element"])
        except (ValueError, KeyError, TypeError, RecursionError):
            # Not as the ledger writes it; it can be looked at and thrown away all the same.
            shown = {
                "id": self.poison_id,
                "at": None,
                "why": "an entry that can't be read",
                "transfer_id": None,
                "size_bytes": len(self.entry),
            }
            element = mask_text(self.entry)
        return {**shown, "element": element} if is_whole else shown


def read_quarantine(ledger: Ledger) -> list[Poison]:
    """Return every entry, the newest first.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        entries = cast("list[str]", ledger.client.lrange(ledger.keys.quarantine, 0, -1))
    except redis.RedisError as error:
        raise LedgerUnavailable(f"quarantine: {diagnose(error)}") from error
    return [Poison(entry) for entry in entries]
