"""What a voice process offers at its start, and what it says of it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
import weakref

import pytest

from support.calling import OK, Caller, client_of, new_call_id
from transfer_tasks.errors import SettingsError
from transfer_tasks.publisher.turns import KEEP_SECONDS
from transfer_tasks.testing import RecordingPublisher, ending
from transfer_tasks.voice import Choice, TransferClient, VoiceSettings

REGISTRY = '[support]\ndescription = "Technical support"\nendpoints = ["+1 202-555-0143"]\n'


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    for name in os.environ:
        if name.startswith("TRANSFER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_the_registry_of_the_working_directory_is_on_offer_and_the_log_says_so(folder, caplog):
    (folder / "destinations.toml").write_text(REGISTRY)
    with caplog.at_level(logging.INFO, logger="transfer_tasks"):
        async with TransferClient() as client:
            assert list(client.choices) == ["support"]
    assert f"Destinations on offer: support, from {folder / 'destinations.toml'}" in caplog.text


async def test_choices_that_are_given_come_before_the_registry(folder, caplog):
    (folder / "destinations.toml").write_text(REGISTRY)
    choice = Choice(name="sales", description="Sales", to="+1 202-555-0144")
    with caplog.at_level(logging.INFO, logger="transfer_tasks"):
        async with TransferClient(choices=[choice]) as client:
            assert list(client.choices) == ["sales"]
    assert "Destinations on offer: sales, from the choices given" in caplog.text


async def test_without_any_destination_it_says_where_they_can_come_from():
    with pytest.raises(SettingsError, match=r"destinations\.toml, or TRANSFER_DESTINATIONS_FILE"):
        TransferClient()


async def test_many_that_ask_at_once_are_spread_over_turns_of_the_event_loop():
    turn = 0

    def count():
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count)

    class Slow(RecordingPublisher):
        """Keeps the loop for as long as requests may keep a turn of it."""

        def __init__(self):
            super().__init__()
            self.checked_in = []

        async def check(self, intent):
            self.checked_in.append(turn)
            until = time.perf_counter() + KEEP_SECONDS
            while time.perf_counter() < until:
                pass

    count()
    publisher = Slow()
    choices = [Choice(name="sales", description="Sales", to="+1 202-555-0144")]
    settings = VoiceSettings(_env_file=None, announce="after")

    async def ask(client):
        async with client.session(new_call_id()) as session:
            await session.transfer("sales")

    async with TransferClient(publisher, choices=choices, settings=settings) as client:
        await asyncio.gather(*(ask(client) for _ in range(10)))
    assert len(publisher.checked_in) == 10
    assert len({*publisher.checked_in}) == 10, "each in a turn of its own"


async def test_a_call_leaves_nothing_to_the_garbage_collector():
    async with client_of(ending(OK, connection=None)) as (client, _):
        session = client.session(new_call_id())
        gone = weakref.ref(session)
        gc.disable()
        try:
            async with session:
                await session.transfer("support", say=Caller().say)
                watching = weakref.ref(session._active)
            del session
            for _ in range(20):  # what was cancelled ends
                await asyncio.sleep(0)
            assert gone() is None
            assert watching() is None
        finally:
            gc.enable()
