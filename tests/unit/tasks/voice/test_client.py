"""What a voice process offers at its start, and what it says of it."""

from __future__ import annotations

import logging
import os

import pytest

from transfer_tasks.errors import SettingsError
from transfer_tasks.voice import Choice, TransferClient

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
