"""How long a request may ring: its own time, the registry's, or the platform's; never less than it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from transfer_tasks.intent import TransferIntent
from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_tasks.registry.ring_time import longest_ring_seconds

if TYPE_CHECKING:
    from pathlib import Path

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PHONE, OTHER_PHONE = "+12025550141", "+12025550142"
REGISTRY = """
[support]
description = "Faults"
endpoints = ["+12025550141"]
ring_timeout_sec = 30

[sales]
description = "Offers"
endpoints = ["+12025550141", "+12025550142", "+12025550143"]
ring_timeout_sec = 20

[everybody]
description = "All at once"
endpoints = ["+12025550141", "+12025550142"]
ring_timeout_sec = 20
strategy = "simultaneous"

[office]
description = "No time of its own"
endpoints = ["+12025550141"]
"""


@pytest.fixture
def registry(tmp_path: Path) -> DestinationRegistry:
    path = tmp_path / "destinations.toml"
    path.write_text(REGISTRY, encoding="utf-8")
    return DestinationRegistry.load(path)


def connect(*numbers, **params):
    endpoints = [{"type": "pstn", "number": number} for number in numbers]
    return {"action": "connect", "endpoints": endpoints, "params": params}


PROMPT = {"action": "play", "file_name": "welcome.wav"}


@pytest.mark.parametrize(
    ("destination", "fields", "seconds"),
    [
        pytest.param(PHONE, {}, 120, id="the platform's"),
        pytest.param(PHONE, {"options": {"ring_timeout_sec": 25}}, 25, id="its own"),
        pytest.param([PHONE, OTHER_PHONE], {}, 240, id="two that ring in turn, as nobody says otherwise"),
        pytest.param([PHONE, OTHER_PHONE], {"strategy": "simultaneous"}, 120, id="two at once"),
        pytest.param("support", {}, 30, id="the registry's"),
        pytest.param(
            "support", {"options": {"ring_timeout_sec": 45}}, 45, id="its own before the registry's"
        ),
        pytest.param("office", {}, 120, id="the platform's where the registry says nothing"),
        pytest.param("sales", {}, 60, id="three of the registry's in turn"),
        pytest.param("everybody", {}, 20, id="the registry's strategy"),
        pytest.param(
            "everybody", {"strategy": "sequential"}, 40, id="its own strategy before the registry's"
        ),
        pytest.param("elsewhere", {}, None, id="a name that is not known here"),
        pytest.param([connect(PHONE, options={"ring_timeout_sec": 10})], {}, 10, id="a pipeline's"),
        pytest.param(
            [connect(PHONE), connect(PHONE, OTHER_PHONE, strategy="simultaneous")],
            {"options": {"ring_timeout_sec": 10}},
            20,
            id="two connects, one after the other",
        ),
        pytest.param([PROMPT, connect(PHONE)], {}, None, id="a prompt takes as long as it takes"),
        pytest.param(
            [{"action": "param", "data": {"a": 1}}, connect(PHONE)], {}, 120, id="param takes no time"
        ),
    ],
)
def test_the_longest_ring_time(registry, destination, fields, seconds):
    intent = TransferIntent(call_id=CALL_ID, destination=destination, **fields)
    assert longest_ring_seconds(intent, registry) == seconds
