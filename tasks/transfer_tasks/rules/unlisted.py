"""Which endpoints outside the registry may be called, and what a SIP request to them may carry."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from phonenumbers import SUPPORTED_REGIONS

from transfer_tasks.addresses import is_host, region_of, sip_host, sip_user
from transfer_tasks.intent.endpoints import AgentEndpoint, PhoneEndpoint, SipEndpoint
from transfer_tasks.rules.numbers import find_dialled, is_chargeable, is_emergency

if TYPE_CHECKING:
    from collections.abc import Iterable

ALL_AGENTS: Final = "agents"

AnyEndpoint = PhoneEndpoint | SipEndpoint | AgentEndpoint

_LIST_IT: Final = "Put it into the registry under a name"
_COSTLY: Final = "a premium, shared-cost, personal, satellite or information number"
_HEADER: Final = re.compile(r"[Xx]-[A-Za-z0-9\-]{1,62}")


@dataclass(frozen=True, slots=True)
class UnlistedRules:
    """Which endpoints outside the registry are allowed.

    Attributes:
        regions: Of phone numbers, by the number's region (``US``), never by its prefix: +1 is also Jamaica.
        hosts: Of SIP URIs.
        agents: Whether any AI agent is.
        headers: Names of SIP headers, in lower case, besides those that the registry sets.
    """

    regions: frozenset[str] = field(default_factory=frozenset)
    hosts: frozenset[str] = field(default_factory=frozenset)
    agents: bool = False
    headers: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def parse(cls, text: str, *, headers: str = "") -> UnlistedRules:
        """Read ``US, GB, sip.example.com, agents`` and, as headers, ``X-Queue, X-Ticket``.

        Raises:
            ValueError: An item is neither a region that has phone numbers, nor a host, nor ``agents``; or is
                no custom header.
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
        return cls(frozenset(regions), frozenset(hosts), agents, parse_headers(headers))

    def find_fault(self, endpoint: AnyEndpoint) -> tuple[str, str] | None:
        """Return the problem of an endpoint outside the registry, and its fix; None if it is allowed."""
        match endpoint:
            case PhoneEndpoint(number=number):
                if is_chargeable(number):
                    return f"is {_COSTLY}", f"{_LIST_IT}."
                if (region := region_of(number)) not in self.regions:
                    return _not_listed(f"region {region}", region)
            case SipEndpoint(uri=uri):
                if (host := sip_host(uri)) not in self.hosts:
                    return _not_listed(f"host {host}", host)
                return self._find_fault_of_user(sip_user(uri))
            case AgentEndpoint():
                if not self.agents:
                    return _not_listed("AI agents", ALL_AGENTS)
        return None

    def _find_fault_of_user(self, user: str) -> tuple[str, str] | None:
        may_be_dialled = "has a user that may be dialled as"
        if is_emergency(user, self.regions):
            return f"{may_be_dialled} an emergency number", f"{_LIST_IT}."
        dialled = find_dialled(user, self.regions)
        if dialled is None:
            return None
        if not dialled:
            return f"{may_be_dialled} a number, and is none that anybody can have", f"{_LIST_IT}."
        if any(map(is_chargeable, dialled)):
            return f"{may_be_dialled} {_COSTLY}", f"{_LIST_IT}."
        for region in map(region_of, dialled):
            if region not in self.regions:
                return f"{may_be_dialled} a number of region {region}", _list_or_allow(
                    f"region {region}", region
                )
        return None


def parse_headers(text: str) -> frozenset[str]:
    """Read ``X-Queue, X-Ticket``, whatever their case.

    Raises:
        ValueError: An item is no custom header.
    """
    items = [part.strip() for part in text.split(",") if part.strip()]
    for item in items:
        if not _HEADER.fullmatch(item):
            raise ValueError(f"{item!r} is no custom SIP header, like X-Queue")
    return frozenset(map(str.lower, items))


def find_strange_header(endpoint: AnyEndpoint, known: Iterable[str]) -> str | None:
    """Return the first SIP header of an endpoint whose name is not known."""
    if not isinstance(endpoint, SipEndpoint) or not endpoint.headers:
        return None
    return next((name for name in endpoint.headers if name.lower() not in known), None)


def _not_listed(what: str, item: str) -> tuple[str, str]:
    return "is not in the registry", _list_or_allow(what, item)


def _list_or_allow(what: str, item: str) -> str:
    return f"{_LIST_IT}, or allow {what} with TRANSFER_ALLOW_UNLISTED={item}."
