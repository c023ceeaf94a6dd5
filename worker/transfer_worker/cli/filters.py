"""Which transfers a command is about: the same options for those that look and those that act."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from transfer_tasks.outcome import Reason, State
from transfer_worker.errors import OperationMisused

if TYPE_CHECKING:
    from transfer_worker.operations.listing import Wanted

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
DEFAULT_SINCE: Final = "1h"
MAX_LISTED: Final = 10_000
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class _Connection(StrEnum):
    RINGING = "ringing"
    CONNECTED = "connected"
    NOT_CONNECTED = "not_connected"
    NONE = "none"


States = Annotated[
    list[State] | None, typer.Option("--state", help="Only these; may be given several times.")
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="SPAN",
        show_default=DEFAULT_SINCE,
        help="Ended within: 90s, 5m, 1h, 7d. Open ones count whatever their age.",
    ),
]
Destination = Annotated[
    str | None,
    typer.Option("--destination", metavar="NAME", help="A name from the registry, endpoints, or pipeline."),
]
EndedAs = Annotated[
    Reason | None,
    typer.Option("--ended-as", metavar="REASON", show_choices=False, help="How they ended."),
]
Requester = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Who asked: the name in the request, or a key's id."),
]


class Trait(StrEnum):
    """What transfers can be counted by (operations/listing.py)."""

    STATE = "state"
    REASON = "reason"
    DESTINATION = "destination"
    REQUESTER = "requester"


CountedBy = Annotated[
    list[Trait] | None,
    typer.Option("--by", help="Count them by this instead; may be given several times."),
]
Connections = Annotated[
    _Connection | None,
    typer.Option("--connection", help="Whether anybody picked up; none where nobody has said."),
]
PerSecond = Annotated[
    float, typer.Option("--per-second", min=0.1, max=100, help="Without an id: how many a second at most.")
]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=MAX_LISTED, help="Without an id: how many at most, all in all.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before it is done.")]


def parse_span(text: str) -> float:
    """Return a span like ``90s``, ``5m``, ``1h`` or ``7d`` in seconds.

    Raises:
        OperationMisused: It is not written so.
    """
    match = _SPAN.fullmatch(text)
    if not match:
        raise OperationMisused(
            field="--since", problem="is not a span of time", fix="Write it like 90s, 5m, 1h or 7d."
        )
    return float(match[1]) * _UNITS[match[2]]


def read_filter(
    *,
    states: list[State] | None,
    since: str | None,
    destination: str | None,
    requester: str | None,
    ended_as: Reason | None,
    connection: str | None = None,
) -> Wanted:
    """Return what the options say.

    Raises:
        OperationMisused: The span is not written as one.
    """
    from transfer_worker.operations.listing import Wanted

    return Wanted(
        states=frozenset(states or ()),
        since_seconds=parse_span(since or DEFAULT_SINCE),
        destination=destination or "",
        reason=ended_as,
        requester=requester or "",
        connection=connection or "",
    )


def is_about_many(wanted_id: str | None, *options: object) -> bool:
    """Whether a command was given a filter and not the id of one transfer.

    Raises:
        OperationMisused: It was given neither, or both.
    """
    is_filtered = any(options)
    if wanted_id is not None and is_filtered:
        problem = "an id and a filter are given"
    elif wanted_id is None and not is_filtered:
        problem = "neither an id nor a filter is given"
    else:
        return is_filtered
    raise OperationMisused(
        field="CALL_OR_TRANSFER_ID",
        problem=problem,
        fix="Name one, or say which are meant: --state, --destination, --requester, --since.",
    )
