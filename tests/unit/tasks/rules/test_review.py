"""What the registry asks for beyond the rules is said at load, and carried out all the same."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from transfer_tasks.publisher import AsyncTransferPublisher
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

BEYOND = """
[support]
description = "People"
endpoints = ["+1 202-555-0143"]
[everybody]
description = "Everybody at once"
endpoints = ["sip:a@pbx.example.com", "sip:b@pbx.example.com", "+1 900-555-0143"]
ring_timeout_sec = 90
[inside]
description = "An address of our own"
endpoints = ["sip:desk@10.0.0.5", "sip:19005550143@pbx.example.com"]
"""
SAID = [
    "[everybody] endpoints: 3 are beyond TRANSFER_MAX_LEGS=2",
    "[everybody] ring_timeout_sec: 90 is beyond TRANSFER_MAX_RING_SECONDS=60",
    "[everybody] endpoints[2]: +1*******43 may cost more than an ordinary call",
    "[inside] endpoints[0]: sip:***@10.0.0.5 has a host that the platform can't reach from outside",
    "[inside] endpoints[1]: sip:***@pbx.example.com has a user that may be dialled as a number at extra cost",
]


def settings(folder: Path) -> PublisherSettings:
    file = folder / "destinations.toml"
    file.write_text(BEYOND)
    return PublisherSettings(destinations_file=file, max_legs=2)


def test_each_thing_beyond_the_rules_has_a_line(tmp_path: Path) -> None:
    assert settings(tmp_path).load_rules().review_registry() == SAID


async def test_a_publisher_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with AsyncTransferPublisher(settings(tmp_path)):
            pass
    assert [
        line.removeprefix("The registry asks for more than the rules allow: ") for line in caplog.messages
    ] == SAID
