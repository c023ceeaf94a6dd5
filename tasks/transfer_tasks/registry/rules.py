"""May this be asked? The registry, and what is allowed besides; one answer for both sides.

A publisher that knows the registry asks early, so that the session hears at once. The worker asks again,
because anybody who can write to Redis can put a message on the queue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from phonenumbers import SUPPORTED_REGIONS

from transfer_tasks.addresses import is_chargeable, is_host, region_of, sip_host
from transfer_tasks.intent.actions import Connect
from transfer_tasks.intent.destination import EndpointsDestination, NamedDestination, PipelineDestination
from transfer_tasks.intent.endpoints import AgentEndpoint, PhoneEndpoint, SipEndpoint
from transfer_tasks.outcome import Reason
from transfer_tasks.registry.actions import ActionRules
from transfer_tasks.registry.objection import Objection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.registry.destinations import DestinationRegistry

ALL_AGENTS: Final = "agents"

AnyEndpoint = PhoneEndpoint | SipEndpoint | AgentEndpoint

_LIST_IT: Final = "Put it into the registry under a name"


@dataclass(frozen=True, slots=True)
class UnlistedRules:
    """Which endpoints outside the registry are allowed.

    Attributes:
        regions: Of phone numbers, by the number's region (``US``), never by its prefix: +1 is also Jamaica.
        hosts: Of SIP URIs.
        agents: Whether any AI agent is.
    """

    regions: frozenset[str] = field(default_factory=frozenset)
    hosts: frozenset[str] = field(default_factory=frozenset)
    agents: bool = False

    @classmethod
    def parse(cls, text: str) -> UnlistedRules:
        """Read ``US, GB, sip.example.com, agents``.

        Raises:
            ValueError: An item is neither a region that has phone numbers, nor a host, nor ``agents``.
        """
        regions, hosts, agents = set(), set(), False
        for item in (part.strip() for part in text.split(",") if part.strip()):
            if item.lower() == ALL_AGENTS:
                agents = True
            elif item.upper() in SUPPORTED_REGIONS:
                regions.add(item.upper())
            elif ("." in item or item == "localhost" or item.startswith("[")) and is_host(item.lower()):
                hosts.add(item.lower())
            else:
                # What can never match is a mistake: nobody would hear of it before a call is refused.
                raise ValueError(
                    f"{item!r} is neither a region that has phone numbers (US; the United Kingdom is GB), "
                    f"nor one SIP host (sip.example.com, no wildcard), nor '{ALL_AGENTS}'"
                )
        return cls(frozenset(regions), frozenset(hosts), agents)


class DestinationRules:
    """The registry and the rules, as one question.

    Args:
        registry: The named destinations.
        unlisted: Which endpoints are allowed besides.
        actions: What may be done with a call besides connecting it.
    """

    def __init__(
        self, registry: DestinationRegistry, unlisted: UnlistedRules, actions: ActionRules | None = None
    ) -> None:
        self.registry, self._unlisted = registry, unlisted
        self._actions = actions or ActionRules()
        self._listed = {_identity(endpoint) for entry in registry.values() for endpoint in entry.endpoints}

    def find_objection(self, intent: TransferIntent) -> Objection | None:
        """Return the first thing that forbids the transfer, if anything does."""
        return self._find_forbidden_place(intent) or self._actions.find_objection(intent)

    def _find_forbidden_place(self, intent: TransferIntent) -> Objection | None:
        destination = intent.destination
        if isinstance(destination, NamedDestination):
            if destination.name in self.registry:
                return None
            known = ", ".join(sorted(self.registry)) or "none"
            return Objection(
                reason=Reason.UNKNOWN_DESTINATION,
                field="destination.name",
                value=repr(destination.name),
                problem="is not in the registry",
                fix=f"The registry's names are: {known}.",
            )
        for path, endpoint in _walk(destination):
            if _identity(endpoint) not in self._listed and (fault := self._find_fault(endpoint)):
                problem, fix = fault
                return Objection(
                    reason=Reason.DESTINATION_NOT_ALLOWED,
                    field=path,
                    value=endpoint.masked,
                    problem=problem,
                    fix=fix,
                )
        return None

    def _find_fault(self, endpoint: AnyEndpoint) -> tuple[str, str] | None:
        """Return the problem of an endpoint outside the registry, and its fix; None if it is allowed."""
        match endpoint:
            case PhoneEndpoint(number=number):
                region = region_of(number)
                if is_chargeable(number):
                    return "is a premium, shared-cost, personal or satellite number", f"{_LIST_IT}."
                if region not in self._unlisted.regions:
                    return _not_listed(f"region {region}", region)
            case SipEndpoint(uri=uri):
                host = sip_host(uri)
                if host not in self._unlisted.hosts:
                    return _not_listed(f"host {host}", host)
            case AgentEndpoint():
                if not self._unlisted.agents:
                    return _not_listed("AI agents", ALL_AGENTS)
        return None


def _not_listed(what: str, item: str) -> tuple[str, str]:
    return (
        "is not in the registry",
        f"{_LIST_IT}, or allow {what} with TRANSFER_ALLOW_UNLISTED={item}.",
    )


def _walk(destination: EndpointsDestination | PipelineDestination) -> Iterator[tuple[str, AnyEndpoint]]:
    if isinstance(destination, EndpointsDestination):
        for number, endpoint in enumerate(destination.endpoints):
            yield f"destination.endpoints[{number}]", endpoint
        return
    for position, action in enumerate(destination.pipeline):
        if isinstance(action, Connect):
            for number, endpoint in enumerate(action.endpoints):
                yield f"destination.pipeline[{position}].endpoints[{number}]", endpoint


def _identity(endpoint: AnyEndpoint) -> tuple[str, str]:
    match endpoint:
        case PhoneEndpoint(number=number):
            return "pstn", number
        case SipEndpoint(uri=uri):
            return "sip", uri
        case AgentEndpoint(id=agent_id):
            return "agent", agent_id
