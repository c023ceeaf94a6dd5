"""May this call go there? Named destinations, and rules for endpoints that are not in the registry.

The publisher may have asked the same question; the worker asks again, because anybody who can write to Redis
can put a message on the queue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.actions import Connect
from transfer_tasks.endpoints import AgentEndpoint, PhoneEndpoint, SipEndpoint
from transfer_tasks.intent import EndpointsDestination, NamedDestination, PipelineDestination
from transfer_tasks.numbers import is_chargeable, region_of, sip_host
from transfer_tasks.outcome import Reason
from transfer_worker.errors import NotPermitted
from transfer_worker.pipeline import build_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transfer_tasks.destinations import DestinationRegistry
    from transfer_tasks.intent import TransferIntent

ALL_AGENTS: Final = "agents"

Endpoint = PhoneEndpoint | SipEndpoint | AgentEndpoint


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
            ValueError: An item is neither a region of two letters, nor a host, nor ``agents``.
        """
        regions, hosts, agents = set(), set(), False
        for item in (part.strip() for part in text.split(",") if part.strip()):
            if item.lower() == ALL_AGENTS:
                agents = True
            elif len(item) == 2 and item.isascii() and item.isalpha():
                regions.add(item.upper())
            elif "." in item or item == "localhost" or item.startswith("["):
                hosts.add(item.lower())
            else:
                raise ValueError(
                    f"{item!r} is neither a region of two letters (US), nor a SIP host (sip.example.com), "
                    f"nor '{ALL_AGENTS}'"
                )
        return cls(frozenset(regions), frozenset(hosts), agents)


class TransferPolicy:
    """The registry and the rules, as one question.

    Args:
        registry: The named destinations.
        unlisted: What is allowed besides.
        default_caller_id: Used where neither the intent nor the registry names one.
    """

    def __init__(
        self, registry: DestinationRegistry, *, unlisted: UnlistedRules, default_caller_id: str | None
    ) -> None:
        self._registry, self._unlisted, self._default_caller_id = registry, unlisted, default_caller_id
        self._listed = {_identity(endpoint) for entry in registry.values() for endpoint in entry.endpoints}

    def route(self, intent: TransferIntent) -> list[dict[str, Any]]:
        """Return the pipeline that carries the intent out.

        Raises:
            NotPermitted: The rules forbid it, or the caller id is missing.
        """
        listed = None
        match intent.destination:
            case NamedDestination(name=name):
                listed = self._registry.get(name)
                if listed is None:
                    known = ", ".join(sorted(self._registry)) or "none"
                    raise NotPermitted(
                        reason=Reason.UNKNOWN_DESTINATION,
                        detail=f"destination: no {name!r} in the worker's registry; it knows {known}",
                    )
            case EndpointsDestination(endpoints=endpoints):
                self._check(endpoints)
            case PipelineDestination(pipeline=actions):
                for action in actions:
                    if isinstance(action, Connect):
                        self._check(action.endpoints)
        return build_pipeline(intent, listed=listed, default_caller_id=self._default_caller_id)

    def _check(self, endpoints: Iterable[Endpoint]) -> None:
        for endpoint in endpoints:
            if _identity(endpoint) not in self._listed and (problem := self._problem(endpoint)):
                raise NotPermitted(
                    reason=Reason.DESTINATION_NOT_ALLOWED, detail=f"{endpoint.masked}: {problem}"
                )

    def _problem(self, endpoint: Endpoint) -> str:
        """Say why an endpoint outside the registry is not allowed; empty if it is."""
        match endpoint:
            case PhoneEndpoint(number=number):
                region = region_of(number)
                if is_chargeable(number):
                    return "a premium, shared-cost, personal or satellite number must be in the registry"
                if region not in self._unlisted.regions:
                    return f"not in the registry, and TRANSFER_ALLOW_UNLISTED does not name region {region}"
            case SipEndpoint(uri=uri):
                host = sip_host(uri)
                if host not in self._unlisted.hosts:
                    return f"not in the registry, and TRANSFER_ALLOW_UNLISTED does not name host {host}"
            case AgentEndpoint():
                if not self._unlisted.agents:
                    return f"not in the registry, and TRANSFER_ALLOW_UNLISTED does not say '{ALL_AGENTS}'"
        return ""


def _identity(endpoint: Endpoint) -> tuple[str, str]:
    match endpoint:
        case PhoneEndpoint(number=number):
            return "pstn", number
        case SipEndpoint(uri=uri):
            return "sip", uri
        case AgentEndpoint(id=agent_id):
            return "agent", agent_id
