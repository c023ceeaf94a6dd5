"""What the registry asks for beyond the rules for everybody else: its word counts, but it may be a slip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer_tasks.addresses import sip_host, sip_user
from transfer_tasks.intent.endpoints import PhoneEndpoint, SipEndpoint
from transfer_tasks.rules.internal_hosts import is_internal_host
from transfer_tasks.rules.numbers import find_dialled, is_chargeable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transfer_tasks.registry.destinations import Destination
    from transfer_tasks.rules.bounds import Bounds
    from transfer_tasks.rules.unlisted import AnyEndpoint, UnlistedRules


def review_registry(
    registry: Mapping[str, Destination], unlisted: UnlistedRules, bounds: Bounds
) -> Iterator[str]:
    """Yield a line for each thing that nobody else may ask for; it is carried out all the same."""
    for name, entry in registry.items():
        if len(entry.endpoints) > bounds.legs:
            yield f"[{name}] endpoints: {len(entry.endpoints)} are beyond TRANSFER_MAX_LEGS={bounds.legs}"
        if entry.ring_timeout_sec and entry.ring_timeout_sec > bounds.ring_seconds:
            yield (
                f"[{name}] ring_timeout_sec: {entry.ring_timeout_sec} is beyond "
                f"TRANSFER_MAX_RING_SECONDS={bounds.ring_seconds}"
            )
        for number, endpoint in enumerate(entry.endpoints):
            for problem in _problems_of(endpoint, unlisted):
                yield f"[{name}] endpoints[{number}]: {endpoint.masked} {problem}"


def _problems_of(endpoint: AnyEndpoint, unlisted: UnlistedRules) -> Iterator[str]:
    match endpoint:
        case PhoneEndpoint(number=number) if is_chargeable(number):
            yield "may cost more than an ordinary call"
        case SipEndpoint(uri=uri):
            if any(map(is_chargeable, find_dialled(sip_user(uri), unlisted.regions) or ())):
                yield "has a user that may be dialled as a number at extra cost"
            if is_internal_host(sip_host(uri)):
                yield "has a host that the platform can't reach from outside"
