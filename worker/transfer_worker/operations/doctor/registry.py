"""What `call-transfer doctor` says of the registry: each name, and the country that it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer_tasks.addresses import NON_GEOGRAPHIC_REGION, region_of, sip_host
from transfer_tasks.errors import SettingsError
from transfer_tasks.intent.endpoints import PhoneEndpoint, SipEndpoint
from transfer_worker.runtime.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


def check_limits(settings: PublisherSettings, in_force: Mapping[str, str]) -> Iterator[Finding]:
    """Say where the limits on rate are not those of the file: no worker was started since it was changed.

    Args:
        settings: Where the file is. One that can't be read is a finding of `check_registry`.
        in_force: The limits that the ledger has; empty where no worker has ever set any.
    """
    if settings.destinations_file is None or not in_force:
        return
    try:
        wanted = settings.load_rules().registry.list_limits()
    except SettingsError:
        return
    if wanted != in_force:
        path, differ = settings.destinations_file, sorted(dict(wanted.items() ^ in_force.items()))
        yield Finding.warning(
            "limits",
            seen=f"other limits on rate are in force than {path} has: {', '.join(differ)}",
            fix="If it is the workers' file, restart one of them: the one that has started last is right.",
        )


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
