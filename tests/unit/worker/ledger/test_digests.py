"""Digests: the same for what is the same, whatever the file looks like; nothing can be read out of them."""

from __future__ import annotations

import re

import pytest

from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_worker.ledger.digests import digest_registry, digest_settings
from transfer_worker.settings import WorkerSettings

SUPPORT = '[support]\ndescription = "Help"\nendpoints = ["+1 202-555-0143"]\n'
SALES = '[sales]\ndescription = "Sales"\nendpoints = ["sip:sales@pbx.example.com"]\n'


@pytest.fixture
def digest(tmp_path):
    def read(text):
        path = tmp_path / "destinations.toml"
        path.write_text(text)
        return digest_registry(DestinationRegistry.load(path))

    return read


@pytest.fixture
def settings(monkeypatch):
    """Settings of a worker whose environment has these and nothing else."""

    def load(**variables):
        with monkeypatch.context() as at:
            at.setenv("PIOPIY_TOKEN", "a-token-of-a-test")
            for name, value in variables.items():
                at.setenv(name, value)
            return digest_settings(WorkerSettings.load())

    return load


def test_a_registry_is_the_same_in_another_order_and_with_comments(digest):
    assert digest(SUPPORT + SALES) == digest(f"# ours\n{SALES}\n\n{SUPPORT}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("555-0143", "555-0144"),
        ("Help", "Help us"),
        ("[support]", "[suport]"),
        ("endpoints", "ring_timeout_sec = 20\nendpoints"),
        ("[support]", '[limits]\nall = "9/min"\n\n[support]'),
    ],
)
def test_a_typo_in_a_registry_changes_its_digest(digest, old, new):
    assert digest(SUPPORT.replace(old, new) + SALES) != digest(SUPPORT + SALES)


def test_a_setting_is_named_by_its_variable_where_it_is_not_as_by_default(settings):
    assert settings().keys() == {"PIOPIY_TOKEN"}
    assert settings(TRANSFER_MAX_LEGS="5").keys() == {"PIOPIY_TOKEN"}
    assert settings(TRANSFER_MAX_LEGS="4", PIOPIY_NUMBER="+12025550100").keys() == {
        "PIOPIY_NUMBER",
        "PIOPIY_TOKEN",
        "TRANSFER_MAX_LEGS",
    }


def test_what_is_each_workers_own_is_not_compared(settings, tmp_path):
    assert (
        settings(
            TRANSFER_CONCURRENCY="3",
            TRANSFER_LOG_LEVEL="DEBUG",
            TRANSFER_REDIS_URL="redis://other:6379/1",
            TRANSFER_AUDIT_FILE=str(tmp_path / "audit.jsonl"),
        )
        == settings()
    )


def test_another_token_has_another_digest_of_eight_characters(settings):
    one, other = settings()["PIOPIY_TOKEN"], settings(PIOPIY_TOKEN="yesterdays-token")["PIOPIY_TOKEN"]
    assert one != other
    assert re.fullmatch("[0-9a-f]{8}", one)
