from __future__ import annotations

import uuid
from typing import Any

import pytest

from transfer_tasks.errors import InvalidIntent
from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason
from transfer_tasks.publisher import AsyncTransferPublisher
from transfer_tasks.registry.destinations import Destination, DestinationRegistry
from transfer_tasks.rules.destination_rules import DestinationRules
from transfer_tasks.rules.unlisted import UnlistedRules
from transfer_tasks.settings import PublisherSettings

AGENT = "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"
REGISTRY = DestinationRegistry(
    {
        "support": Destination(
            name="support",
            description="People who help",
            endpoints=["+1 202-555-0143", "sip:desk@pbx.example.com", f"agent:{AGENT}"],
        )
    }
)


def object_to(destination: Any, *, unlisted: str = "") -> Any:
    rules = DestinationRules(REGISTRY, UnlistedRules.parse(unlisted))
    return rules.find_objection(TransferIntent(call_id=str(uuid.uuid4()), destination=destination))


@pytest.mark.parametrize(
    "destination", ["support", "+12025550143", "sip:desk@pbx.example.com", f"agent:{AGENT}"]
)
def test_what_the_registry_lists_is_allowed_by_name_and_by_address(destination: str) -> None:
    assert object_to(destination) is None


def test_a_name_that_the_registry_does_not_know_is_refused_with_the_names_it_knows() -> None:
    objection = object_to("sales")

    assert (objection.reason, objection.field) == (Reason.UNKNOWN_DESTINATION, "destination.name")
    assert "support" in objection.fix


@pytest.mark.parametrize(
    ("destination", "unlisted"),
    [
        ("+1 202-555-0177", "US"),
        ("+44 20 7946 0018", "us, gb"),
        ("sip:a@other.example.com", "Other.Example.com"),
        ("agent:5c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8", "agents"),
    ],
)
def test_what_is_not_listed_is_refused_unless_allowed(destination: str, unlisted: str) -> None:
    objection = object_to(destination)

    assert (objection.reason, objection.field) == (
        Reason.DESTINATION_NOT_ALLOWED,
        "destination.endpoints[0]",
    )
    assert "TRANSFER_ALLOW_UNLISTED" in objection.fix
    assert object_to(destination, unlisted=unlisted) is None


def test_a_prefix_is_no_region() -> None:
    jamaica = object_to("+1 876-926-1234", unlisted="US")

    assert "JM" in jamaica.fix


@pytest.mark.parametrize(
    "number", ["+1 900-555-1234", "+44 909 879 0123", "+44 70 1234 5678", "+881 612345678"]
)
def test_a_number_that_costs_more_is_never_allowed_by_its_region(number: str) -> None:
    objection = object_to(number, unlisted="US, GB")

    assert "premium" in objection.problem
    assert "TRANSFER_ALLOW_UNLISTED" not in objection.fix


def test_every_endpoint_of_a_pipeline_is_looked_at_and_named() -> None:
    pipeline = [
        {"action": "play", "file_name": "hold.wav"},
        {"action": "connect", "params": {}, "endpoints": [{"type": "pstn", "number": "12025550143"}]},
        {
            "action": "connect",
            "params": {},
            "endpoints": [
                {"type": "pstn", "number": "12025550143"},
                {"type": "pstn", "number": "12025550177"},
            ],
        },
    ]

    assert object_to(pipeline).field == "destination.pipeline[2].endpoints[1]"


def test_an_objection_shows_no_whole_number() -> None:
    objection = object_to("+1 202-555-0177")

    assert "2025550177" not in repr(objection)
    assert objection.value == "+1*******77"


@pytest.mark.parametrize(
    "item",
    [
        "USA",
        "1",
        "+1",
        "host",
        "U1",
        "UK",
        "ZZ",
        "EU",
        "001",
        "*.example.com",
        "sip.example.com:5060",
        "sip:a@b.example",
        "b..example",
        "[::1",
    ],
)
def test_a_rule_that_means_nothing_is_refused(item: str) -> None:
    with pytest.raises(ValueError, match="neither a region"):
        UnlistedRules.parse(f"US, {item}")


async def test_a_publisher_with_the_registry_refuses_before_anything_is_queued(tmp_path: Any) -> None:
    file = tmp_path / "destinations.toml"
    file.write_text('[support]\ndescription = "People"\nendpoints = ["+1 202-555-0143"]\n')
    # Nothing listens there: whoever asks Redis first fails with another error.
    settings = PublisherSettings(redis_url="redis://127.0.0.1:1/0", destinations_file=file)

    async with AsyncTransferPublisher(settings) as publisher:
        with pytest.raises(InvalidIntent) as refused:
            await publisher.submit(TransferIntent(call_id=str(uuid.uuid4()), destination="sales"))

    assert refused.value.field == "destination.name"
