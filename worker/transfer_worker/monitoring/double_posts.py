"""Calls that may have been moved twice and nobody has acknowledged, as the ledger keeps them."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DoublePost:
    """Two requests that may both have moved a call.

    Attributes:
        transfers: Whose requests they are; one id twice, where both are of one transfer.
    """

    call_id: str
    transfers: tuple[str, str]
    noted_at_ms: int

    @classmethod
    def of(cls, entry: str) -> DoublePost | None:
        """Read an entry of the ledger's list; None for one that is not as the ledger writes it."""
        try:
            said = json.loads(entry)
            first, second = map(str, said["transfers"])
            at_ms = int(said["at_ms"])
            return cls(call_id=str(said["call_id"]), transfers=(first, second), noted_at_ms=at_ms)
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
            return None
