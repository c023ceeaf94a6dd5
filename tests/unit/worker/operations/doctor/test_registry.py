"""`doctor` shows where each name leads, so that a number of the wrong country is seen before it is called."""

from __future__ import annotations

from transfer_tasks.settings import PublisherSettings
from transfer_worker.operations.doctor.registry import check_limits, check_registry
from transfer_worker.runtime.findings import Verdict

REGISTRY = """
[support]
description = "People"
endpoints = ["+43 5550 143000", "+1 202-555-0143"]

[office]
description = "The office"
endpoints = ["sip:desk@pbx.example.com"]

[assistant]
description = "An assistant"
endpoints = ["agent:3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"]
"""


def check(tmp_path, text):
    path = tmp_path / "destinations.toml"
    path.write_text(text)
    return check_registry(PublisherSettings(destinations_file=path))


def test_each_destination_is_listed_with_its_country(tmp_path):
    found = check(tmp_path, REGISTRY)
    assert found.verdict is Verdict.OK
    assert found.seen.endswith(
        "destinations.toml: support (AT, US), office (pbx.example.com), assistant (AI agent)"
    )


def test_a_number_without_its_country_is_a_problem_with_what_to_write(tmp_path):
    found = check(tmp_path, REGISTRY.replace("+43 5550 143000", "435 555 0143"))
    assert found.verdict is Verdict.PROBLEM
    assert "does not show which country it belongs to" in found.seen
    assert "like +1 202-555-0143" in found.seen


def test_a_number_that_is_none_to_toml_is_to_be_written_as_text(tmp_path):
    found = check(tmp_path, REGISTRY.replace('"+43 5550 143000"', "435550143000"))
    assert "Write it as text." in found.seen
    assert "435550143000" not in found.seen


def test_what_is_beyond_the_rules_is_a_warning_and_no_number_is_shown(tmp_path):
    found = check(tmp_path, REGISTRY.replace("+43 5550 143000", "+1 900-555-0143"))
    assert found.verdict is Verdict.WARNING
    assert "beyond the rules: [support] endpoints[0]: +1*******43 may cost more" in found.seen
    assert "5550143" not in found.seen


def test_limits_that_are_not_those_of_the_file_are_named(tmp_path):
    path = tmp_path / "destinations.toml"
    path.write_text('[limits]\nall = "9/min"\n' + REGISTRY.replace("[office]", 'limit = "3/min"\n[office]'))
    settings = PublisherSettings(destinations_file=path)
    of_the_file = {"call": "5/600", "all": "9/60", "destination:support": "3/60"}

    assert list(check_limits(settings, {})) == []  # no worker has ever set any
    assert list(check_limits(settings, of_the_file)) == []
    (found,) = check_limits(settings, {"call": "5/600", "all": "8/60", "requester": "1/60"})

    assert found.verdict is Verdict.WARNING
    assert found.seen.endswith("has: all, destination:support, requester")
    path.write_text("[support")
    assert list(check_limits(settings, of_the_file)) == []  # what is wrong with it is said elsewhere
