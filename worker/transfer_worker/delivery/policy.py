"""The worker's own look at the rules: what is on the queue is not trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transfer_tasks.intent.destination import NamedDestination
from transfer_worker.delivery.pipeline import build_pipeline
from transfer_worker.errors import NotPermitted

if TYPE_CHECKING:
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.registry.rules import DestinationRules


class TransferPolicy:
    """From an intent to what may be sent.

    Args:
        rules: The registry, and what is allowed besides.
        default_caller_id: Used where neither the intent nor the registry names one.
    """

    def __init__(self, rules: DestinationRules, *, default_caller_id: str | None) -> None:
        self._rules, self._default_caller_id = rules, default_caller_id

    def route(self, intent: TransferIntent) -> list[dict[str, Any]]:
        """Return the pipeline that carries the intent out.

        Raises:
            NotPermitted: The rules forbid it, or the caller id is missing.
        """
        if objection := self._rules.find_objection(intent):
            raise NotPermitted(
                reason=objection.reason,
                detail=f"{objection.field}: {objection.problem} (got {objection.value}). {objection.fix}",
            )
        destination = intent.destination
        listed = self._rules.registry[destination.name] if isinstance(destination, NamedDestination) else None
        return build_pipeline(intent, listed=listed, default_caller_id=self._default_caller_id)
