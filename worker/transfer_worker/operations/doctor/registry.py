"""What `call-transfer doctor` says of the registry: each name, and the country that it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer_tasks.addresses import NON_GEOGRAPHIC_REGION, region_of, sip_host
from transfer_tasks.errors import SettingsError
from transfer_tasks.intent.endpoints import PhoneEndpoint, SipEndpoint
from transfer_worker.runtime.findings import Finding

if TYPE_CHECKING:
    from transfer_tasks.intent.endpoints import AgentEndpoint
    from transfer_tasks.registry.destinations import Destination
    from transfer_tasks.settings import PublisherSettings


def check_registry(settings: PublisherSettings) -> Finding:
    """Read the registry as a worker does; a number of the wrong country is seen before it is called."""
    path = settings.destinations_file
    if path is None:
        return Finding.warning(
            "registry",
            seen="no named destinations",
            fix="Run call-transfer init, which writes destinations.toml; or set TRANSFER_DESTINATIONS_FILE.",
        )
    try:
        rules = settings.load_rules()
    except SettingsError as error:
        return Finding.problem(
            "registry",
            seen="; ".join(error.problems),
            fix="Correct the file; a worker does not start with it.",
        )
    names = ", ".join(f"{name} ({_places_of(entry)})" for name, entry in rules.registry.items())
    if beyond := rules.review_registry():
        return Finding.warning(
            "registry",
            seen=f"{path.absolute()}: {names}; beyond the rules: {'; '.join(beyond)}",
            fix="Correct the file, or the setting. A worker carries out what the registry says.",
        )
    return Finding.ok("registry", seen=f"{path.absolute()}: {names}")


def _places_of(entry: Destination) -> str:
    return ", ".join(dict.fromkeys(map(_place_of, entry.endpoints)))


def _place_of(endpoint: PhoneEndpoint | SipEndpoint | AgentEndpoint) -> str:
    match endpoint:
        case PhoneEndpoint(number=number):
            region = region_of(number)
            return "no country" if region == NON_GEOGRAPHIC_REGION else region
        case SipEndpoint(uri=uri):
            return sip_host(uri)
        case _:
            return "AI agent"
