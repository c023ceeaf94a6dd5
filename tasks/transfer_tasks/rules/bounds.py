"""How much one request may ask for: legs, seconds of ringing, seconds of talk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer_tasks.intent.actions import Connect
from transfer_tasks.intent.destination import EndpointsDestination, PipelineDestination
from transfer_tasks.outcome import Reason
from transfer_tasks.rules.objection import Objection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.intent import ConnectOptions, TransferIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one request may cost.

    Attributes:
        legs: Endpoints, over all connect actions.
        duration_seconds: The longest `max_duration_sec`; where none is asked for, the platform's own holds.
        ring_seconds: The longest `ring_timeout_sec`, of each endpoint.
    """

    legs: int = 5
    duration_seconds: int = 3600
    ring_seconds: int = 60

    def find_objection(self, intent: TransferIntent) -> Objection | None:
        """Return the first bound that a request is beyond, if it is."""
        return next(self._find(intent), None)

    def _find(self, intent: TransferIntent) -> Iterator[Objection]:
        yield from self._find_in_options(intent.options, "options")
        match intent.destination:
            case EndpointsDestination(endpoints=endpoints):
                yield from self._find_in_legs(len(endpoints), "destination.endpoints")
            case PipelineDestination(pipeline=actions):
                connects = [(at, action) for at, action in enumerate(actions) if isinstance(action, Connect)]
                yield from self._find_in_legs(
                    sum(len(connect.endpoints) for _, connect in connects), "destination.pipeline"
                )
                for position, connect in connects:
                    if connect.params.options:
                        path = f"destination.pipeline[{position}].params.options"
                        yield from self._find_in_options(connect.params.options, path)

    def _find_in_legs(self, count: int, path: str) -> Iterator[Objection]:
        if count > self.legs:
            yield _object(
                path,
                f"{count} legs",
                "calls more endpoints than are allowed",
                f"Name {self.legs} at most",
                "LEGS",
            )

    def _find_in_options(self, options: ConnectOptions, path: str) -> Iterator[Objection]:
        for name, limit, setting in (
            ("max_duration_sec", self.duration_seconds, "DURATION_SECONDS"),
            ("ring_timeout_sec", self.ring_seconds, "RING_SECONDS"),
        ):
            asked = getattr(options, name)
            if asked is not None and asked > limit:
                yield _object(
                    f"{path}.{name}",
                    str(asked),
                    "is longer than is allowed",
                    f"Choose {limit} or less",
                    setting,
                )


def _object(path: str, value: str, problem: str, fix: str, setting: str) -> Objection:
    return Objection(
        reason=Reason.ACTION_NOT_ALLOWED,
        field=path,
        value=value,
        problem=problem,
        fix=f"{fix}, or raise TRANSFER_MAX_{setting}.",
    )
