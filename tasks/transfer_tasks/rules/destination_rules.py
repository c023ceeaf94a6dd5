"""May this be asked? The registry, and what is allowed besides; one answer for both sides.

A publisher that knows the registry asks early, so that the session hears at once. The worker asks again,
because anybody who can write to Redis can put a message on the queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer_tasks.intent.actions import Connect
from transfer_tasks.intent.destination import EndpointsDestination, NamedDestination, PipelineDestination
from transfer_tasks.intent.endpoints import AgentEndpoint, PhoneEndpoint, SipEndpoint
from transfer_tasks.intent.validation import mask_value
from transfer_tasks.outcome import Reason
from transfer_tasks.rules.actions import ActionRules
from transfer_tasks.rules.bounds import Bounds
from transfer_tasks.rules.objection import Objection
from transfer_tasks.rules.review import review_registry
from transfer_tasks.rules.unlisted import find_strange_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.registry.destinations import DestinationRegistry
    from transfer_tasks.rules.unlisted import AnyEndpoint, UnlistedRules


class DestinationRules:
    """The registry and the rules, as one question.

    Args:
        registry: The named destinations.
        unlisted: Which endpoints are allowed besides, and which SIP headers.
        actions: What may be done with a call besides connecting it.
        bounds: How much one request may ask for.
    """

    def __init__(
        self,
        registry: DestinationRegistry,
        unlisted: UnlistedRules,
        actions: ActionRules | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.registry, self._unlisted = registry, unlisted
        self._actions, self._bounds = actions or ActionRules(), bounds or Bounds()
        listed = [endpoint for entry in registry.values() for endpoint in entry.endpoints]
        self._listed = set(map(_identity, listed))
        self._headers = unlisted.headers | {
            name.lower()
            for endpoint in listed
            if isinstance(endpoint, SipEndpoint)
            for name in endpoint.headers or ()
        }

    def find_objection(self, intent: TransferIntent) -> Objection | None:
        """Return the first thing that forbids the transfer, if anything does."""
        return (
            self._find_forbidden_place(intent)
            or self._bounds.find_objection(intent)
            or self._actions.find_objection(intent)
        )

    def review_registry(self) -> list[str]:
        """Return what the registry asks for beyond the rules; it is carried out all the same."""
        return list(review_registry(self.registry, self._unlisted, self._bounds))

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
            if found := self._find_forbidden_endpoint(path, endpoint):
                return found
        return None

    def _find_forbidden_endpoint(self, path: str, endpoint: AnyEndpoint) -> Objection | None:
        if _identity(endpoint) not in self._listed and (fault := self._unlisted.find_fault(endpoint)):
            problem, fix = fault
            return Objection(
                reason=Reason.DESTINATION_NOT_ALLOWED,
                field=path,
                value=endpoint.masked,
                problem=problem,
                fix=fix,
            )
        if header := find_strange_header(endpoint, self._headers):
            return Objection(
                reason=Reason.ACTION_NOT_ALLOWED,
                field=f"{path}.headers",
                value=mask_value(header),
                problem="is a SIP header that is not allowed",
                fix="Leave it out, or allow it with TRANSFER_ALLOW_SIP_HEADERS, by its name.",
            )
        return None


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
