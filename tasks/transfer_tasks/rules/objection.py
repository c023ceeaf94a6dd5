"""Why something may not be asked: what every rule answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transfer_tasks.outcome import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """Why a request may not be carried out.

    Attributes:
        reason: The closed reason that a rejection carries.
        field: The path of the field in the intent.
        value: What stands there, masked.
        problem: What is wrong with it.
        fix: What to do instead.
    """

    reason: Reason
    field: str
    value: str
    problem: str
    fix: str
