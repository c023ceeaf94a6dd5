"""From an intent to the PCMO pipeline that the platform takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.intent import EndpointsDestination, PipelineDestination
from transfer_tasks.intent.actions import Connect
from transfer_tasks.intent.fields import FOR_PLATFORM
from transfer_tasks.outcome import Reason
from transfer_worker.errors import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.registry.destinations import Destination

_PLACEHOLDER: Final = re.compile(r"\{([^{}]+)\}")
_HEADER_VALUE: Final = re.compile(r"[ -~]{1,255}")


def build_pipeline(
    intent: TransferIntent, *, listed: Destination | None, default_caller_id: str | None
) -> list[dict[str, Any]]:
    """Return the actions to send.

    What the intent says comes first, then what the registry says, then the settings.

    Args:
        intent: What is asked.
        listed: The registry's entry, where the destination is a name.
        default_caller_id: The number of last resort.

    Raises:
        NotPermitted: No caller id is to be had.
    """
    defaults = _connect_params(intent, listed, default_caller_id)
    match intent.destination:
        case PipelineDestination(pipeline=actions):
            return [
                _fill(_plain(action), defaults) if isinstance(action, Connect) else _plain(action)
                for action in actions
            ]
        case EndpointsDestination(endpoints=endpoints):
            legs = [_plain(leg) for leg in endpoints]
        case _:
            known = {"call_id": intent.call_id, "transfer_id": intent.transfer_id, **intent.metadata}
            legs = [_fill_headers(_plain(leg), known) for leg in (listed.endpoints if listed else [])]
    return [_fill({"action": "connect", "params": {}, "endpoints": legs}, defaults)]


def _fill_headers(leg: dict[str, Any], known: Mapping[str, object]) -> dict[str, Any]:
    """Return a leg of the registry with its SIP headers filled in: ``X-Ticket = "{ticket}"``.

    A header of which something is not known, or not to be written in one, is left out.
    """
    headers = {}
    for name, template in leg.get("headers", {}).items():
        wanted = _PLACEHOLDER.findall(template)
        value = _PLACEHOLDER.sub(lambda found: str(known.get(found[1], "")), template)
        if all(of in known for of in wanted) and _HEADER_VALUE.fullmatch(value):
            headers[name] = value
    rest = {name: value for name, value in leg.items() if name != "headers"}
    return {**rest, "headers": headers} if headers else rest


def _connect_params(
    intent: TransferIntent, listed: Destination | None, default_caller_id: str | None
) -> dict[str, Any]:
    params: dict[str, Any] = {}
    caller_id = intent.caller_id or (listed and listed.caller_id) or default_caller_id
    strategy = intent.strategy or (listed and listed.strategy)
    options = _plain(intent.options)
    if listed and listed.ring_timeout_sec is not None:
        options = {"ring_timeout_sec": listed.ring_timeout_sec, **options}
    if caller_id:
        params["caller_id"] = caller_id
    if strategy:
        params["strategy"] = strategy
    if options:
        params["options"] = options
    if intent.metadata:
        params["metadata"] = dict(intent.metadata)
    return params


def _fill(connect: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the connect action with what it leaves open."""
    own = connect.get("params", {})
    params = {**defaults, **own}
    for name in ("options", "metadata"):
        if name in defaults and name in own:
            params[name] = {**defaults[name], **own[name]}
    if "caller_id" not in params:
        raise NotPermitted(
            reason=Reason.CALLER_ID_MISSING,
            detail="caller_id: give one in the intent or the registry, or set PIOPIY_NUMBER on the worker",
        )
    return {**connect, "params": params}


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_none=True, context=FOR_PLATFORM)
