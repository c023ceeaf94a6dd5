"""Limits on rate: read from the registry file, and written as the ledger reads them."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from transfer_tasks.registry.destinations import DestinationRegistry
from transfer_tasks.registry.limits import LIMIT_KINDS, LIMIT_OF_CALL, is_limit

DESTINATION = '[support]\ndescription = "Support"\nendpoints = ["+1 202-555-0145"]\n'


def read(tmp_path, text):
    path = tmp_path / "destinations.toml"
    path.write_text(text)
    return DestinationRegistry.load(path)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("30/min", "30/60"),
        ("5/10min", "5/600"),
        ("5 / 10 min", "5/600"),
        ("1/s", "1/1"),
        ("100/h", "100/3600"),
        ("100000/day", "100000/86400"),
        ("off", "off"),
    ],
)
def test_a_limit_is_a_number_and_a_time(tmp_path, written, kept):
    registry = read(tmp_path, f'{DESTINATION}limit = "{written}"')
    assert registry.list_limits()["destination:support"] == kept
    assert is_limit(kept)


def test_the_table_of_limits_is_no_destination(tmp_path):
    table = '[limits]\nall = "300/min"\nrequester = "30/min"\nendpoints = "1/min"\npipeline = "2/min"\n'
    registry = read(tmp_path, table + DESTINATION)
    assert list(registry) == ["support"]
    assert registry.list_limits() == {
        "call": "5/600",
        "requester": "30/60",
        "all": "300/60",
        "destination:endpoints": "1/60",
        "destination:pipeline": "2/60",
    }


def test_the_limit_of_a_call_is_on_unless_it_is_taken_off(tmp_path):
    assert read(tmp_path, DESTINATION).list_limits() == {"call": LIMIT_OF_CALL.to_text()}
    assert DestinationRegistry({}).list_limits() == {"call": LIMIT_OF_CALL.to_text()}
    assert read(tmp_path, '[limits]\ncall = "off"\n' + DESTINATION).list_limits() == {"call": "off"}


def test_the_ledger_has_the_same_limit_of_a_call_and_the_same_kinds():
    script = (files("transfer_tasks.ledger") / "scripts" / "frame" / "limits.lua").read_text("utf-8")
    assert f"DEFAULT_LIMITS = {{ call = '{LIMIT_OF_CALL.to_text()}' }}" in script
    kinds = re.search(r"LIMIT_KINDS = \{ (.*) \}", script)
    assert kinds
    assert tuple(re.findall(r"\w+", kinds[1])) == LIMIT_KINDS


@pytest.mark.parametrize(
    "text", ["100001/min", "1/2day", "1/0min", "-1/min", "1.5/min", "", "٣/min", "1/min\n"]
)
def test_what_no_ledger_could_keep_is_refused(tmp_path, text):
    path = tmp_path / "destinations.toml"
    path.write_text(f"{DESTINATION}limit = {text!r}".replace("'", '"'))
    with pytest.raises(Exception, match=r"\[support\] limit: is not a limit on rate"):
        DestinationRegistry.load(path)
