"""How long a transfer may ring before somebody answers or nobody does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transfer_tasks.intent.actions import Connect, Param, Record
from transfer_tasks.intent.destination import NamedDestination, PipelineDestination

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.intent.fields import ContractModel, Strategy
    from transfer_tasks.registry.destinations import Destination

PLATFORM_RING_SECONDS: Final = 120
"""The longest `ring_timeout_sec` that the platform takes; what it does without one is published nowhere."""


def longest_ring_seconds(intent: TransferIntent, registry: Mapping[str, Destination]) -> float | None:
    """Return the longest time that a request may ring; None where that can't be known.

    As the worker builds the pipeline: what a connect action says comes first, then the intent, then the
    registry. Endpoints that ring in turn add up; so do several connect actions.

    Args:
        intent: What is asked.
        registry: The named destinations as this process knows them. For a name that is not among them nobody
            here can say how many endpoints ring in turn.
    """
    own_seconds, strategy = intent.options.ring_timeout_sec, intent.strategy
    destination = intent.destination
    if isinstance(destination, PipelineDestination):
        return _sum_up(destination.pipeline, own_seconds, strategy)
    if not isinstance(destination, NamedDestination):
        return _connect_seconds(len(destination.endpoints), own_seconds, strategy)
    listed = registry.get(destination.name)
    if listed is None:
        return None
    return _connect_seconds(
        len(listed.endpoints), own_seconds or listed.ring_timeout_sec, strategy or listed.strategy
    )


def _sum_up(
    actions: Sequence[ContractModel], own_seconds: int | None, strategy: Strategy | None
) -> float | None:
    total = 0.0
    for action in actions:
        if isinstance(action, Connect):
            options = action.params.options
            seconds = (options and options.ring_timeout_sec) or own_seconds
            total += _connect_seconds(len(action.endpoints), seconds, action.params.strategy or strategy)
        elif not isinstance(action, Param | Record):
            return None  # a prompt, or waiting for input, takes as long as it takes
    return total


def _connect_seconds(count: int, seconds: int | None, strategy: Strategy | None) -> float:
    # Without a strategy it is the platform's choice; in turn is the longer one.
    return float(seconds or PLATFORM_RING_SECONDS) * (1 if strategy == "simultaneous" else count)
