"""What is to be paused or resumed: a name that means something, or everything."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from transfer_tasks.errors import SettingsError
from transfer_tasks.intent.fields import is_destination_name
from transfer_tasks.outcome import OPEN_STATES, Reason
from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_worker.errors import OperationMisused
from transfer_worker.monitoring.present import read_present
from transfer_worker.operations.listing import Wanted, list_transfers
from transfer_worker.operations.pauses import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_worker.operations.lookup import OperatorTools

WITHOUT_A_NAME: Final = ("endpoints", "pipeline")
"""The names under which addresses and pipelines that stand in no registry are paused."""

_NAMED_AT_MOST: Final = 8

ENDED_AT_ONCE: Final = 1000
"""How many waiting transfers, and claimed ones, the pause itself ends; the rest end at their next step."""


def choose_destination(name: str | None, *, is_all: bool) -> str:
    """Return the name under which it is paused.

    Args:
        name: A name from the registry, or ``endpoints`` or ``pipeline`` for those without one.
        is_all: Whether all destinations are meant.

    Raises:
        OperationMisused: Neither or both are given, or it is not a name.
    """
    if bool(name) == is_all:
        raise OperationMisused(
            field="DESTINATION",
            problem=f"{'both' if name else 'neither'} a name and --all",
            fix="Write a name from the registry, endpoints, pipeline, or --all.",
        )
    if name and not is_destination_name(name):
        raise OperationMisused(
            field="DESTINATION",
            problem="is not a destination's name",
            fix="Write a name from the registry; addresses and pipelines without one are paused together, "
            "as endpoints and pipeline.",
        )
    return name or EVERYTHING


def check_name(tools: OperatorTools, name: str) -> None:
    """Raise unless a transfer could go to what is to be paused: a slip of the pen would stop nothing.

    Raises:
        OperationMisused: Neither the registry here nor any transfer so far knows the name.
        LedgerUnavailable: Redis did not answer in time.
    """
    if name == EVERYTHING or name in (known := {*_list_registry(tools), *WITHOUT_A_NAME}):
        return
    known |= {*_list_asked_for(tools)}
    if name in known or _is_open_to(tools.ledger, name):
        return
    raise OperationMisused(
        field="DESTINATION",
        problem=f"{name!r} is in no registry here, and no transfer has gone to it",
        fix=f"{_tell_near(name, known)} If it is meant, add --force.",
    )


def _list_registry(tools: OperatorTools) -> Iterable[str]:
    path = tools.settings.destinations_file
    try:
        return DestinationRegistry.load(path) if path else ()
    except SettingsError:
        return ()  # doctor says what is wrong with the file; a pause does not wait for it


def _list_asked_for(tools: OperatorTools) -> Iterable[str]:
    """Return the destinations of what has ended, but for those that the workers did not know."""
    for (_, reason, destination), _count in read_present(tools.ledger).totals.family("ended", parts=3):
        if reason != Reason.DESTINATION_NOT_ALLOWED and is_destination_name(destination):
            yield destination


def _is_open_to(ledger: Ledger, name: str) -> bool:
    return bool(list_transfers(ledger, Wanted(states=OPEN_STATES, destination=name), limit=1))


def _tell_near(name: str, known: set[str]) -> str:
    if near := get_close_matches(name, sorted(known)):
        return f"Near it: {', '.join(near)}."
    shown = sorted(known)[:_NAMED_AT_MOST]
    more = f" and {len(known) - len(shown)} more" if len(known) > len(shown) else ""
    return f"Known: {', '.join(shown)}{more}."
