from __future__ import annotations

import pytest

from transfer_tasks.addresses import parse_number
from transfer_tasks.rules.numbers import find_dialled, is_chargeable


@pytest.mark.parametrize(
    ("text", "is_extra"),
    [
        ("+1 202-555-0143", False),
        ("+1 800 555 0199", False),
        ("+44 7400 123456", False),
        ("+1 900 555 0143", True),
        ("+44 909 879 0000", True),
        ("+44 70 1234 5678", True),
        ("+979 123 456 789", True),
        ("+881 6 1234 5678", True),
        ("+1 202-976-5555", True),
        ("+1 416-976-5555", True),
        ("+1 202-555-1212", True),
        ("+1 202-555-4334", True),
        ("+1 202-950-1234", True),
        ("+1 202-958-1234", True),
        ("+1 202-411-4411", True),
        ("+1 600 555 1234", True),
        ("+1 800 555 1212", False),  # toll-free, whatever the exchange
        ("+1 888 976 5555", False),
        ("+49 30 9761234", False),
    ],
)
def test_premium_personal_satellite_and_information_numbers_are_chargeable(text, is_extra):
    assert is_chargeable(parse_number(text)) is is_extra


@pytest.mark.parametrize("user", ["front-desk", "1001", "911", "123456", "desk12025550143", "a.1", "1-0-0-1"])
def test_an_extension_and_a_name_are_no_number(user):
    assert find_dialled(user, {"US"}) is None


@pytest.mark.parametrize(
    ("user", "numbers"),
    [
        ("12025550143", ["12025550143"]),
        ("+12025550143", ["12025550143"]),
        ("+1-202-555-0143", ["12025550143"]),
        ("1.202.555.0143", ["12025550143"]),
        ("2025550143", ["12025550143"]),
        ("0012025550143", ["12025550143"]),
        ("01112025550143", ["12025550143"]),
        ("+0019005550143", ["19005550143"]),
        ("1_900_555_0143", ["19005550143"]),
        ("9005550143", ["19005550143"]),
        ("+9005550143", []),
        ("1234567", []),
        ("*6719005550143", []),
        ("0118816123456789", ["8816123456789"]),
    ],
)
def test_every_number_that_a_gateway_may_dial(user, numbers):
    assert find_dialled(user, {"US"}) == numbers


def test_digits_that_are_numbers_of_two_countries_are_both():
    assert find_dialled("20255501431", {"US"}) == ["20255501431"]
    assert set(find_dialled("2079460958", {"GB"}) or ()) >= {"442079460958"}
