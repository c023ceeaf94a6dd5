from __future__ import annotations

import pytest

from transfer_tasks.intent.endpoints import read_short_form
from transfer_tasks.rules.unlisted import UnlistedRules, parse_headers

RULES = UnlistedRules.parse("US, sip.example.com")


@pytest.mark.parametrize(
    "user",
    ["front-desk", "1001", "12025550143", "+12025550143", "2025550143", "+1-202-555-0143", "18005550199"],
)
def test_a_sip_user_that_is_a_name_an_extension_or_an_allowed_number(user: str) -> None:
    assert RULES.find_fault(read_short_form(f"sip:{user}@sip.example.com")) is None


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ("19005550143", "premium"),
        ("+19005550143", "premium"),
        ("9005550143", "premium"),
        ("0019005550143", "premium"),
        ("01119005550143", "premium"),
        ("1-900-555-0143", "premium"),
        ("1.900.555~0143", "premium"),
        ("12029765555", "premium"),
        ("2025551212", "premium"),
        ("+881612345678", "premium"),
        ("+18769261234", "region JM"),
        ("00442079460958", "region GB"),
        ("*6719005550143", "none that anybody can have"),
        ("1234567", "none that anybody can have"),
        ("9761234", "none that anybody can have"),
        ("911", "an emergency number"),
        ("9-1-1", "an emergency number"),
        ("+911", "an emergency number"),
    ],
)
def test_the_digits_of_a_sip_user_are_judged_as_a_number_is(user: str, problem: str) -> None:
    fault = RULES.find_fault(read_short_form(f"sip:{user}@sip.example.com"))
    assert fault is not None
    assert problem in fault[0]
    assert user not in "".join(fault)


def test_an_extension_is_an_emergency_number_only_where_gateways_are() -> None:
    assert (
        UnlistedRules.parse("GB, sip.example.com").find_fault(read_short_form("sip:911@sip.example.com"))
        is None
    )
    assert (
        UnlistedRules.parse("sip.example.com").find_fault(read_short_form("sip:911@sip.example.com")) is None
    )


def test_only_custom_headers_can_be_allowed() -> None:
    assert parse_headers("X-Queue,, x-TICKET ") == {"x-queue", "x-ticket"}
    for wrong in ("From", "X-", "X-Queue: a", "X-A\r\nFrom"):
        with pytest.raises(ValueError, match="no custom SIP header"):
            parse_headers(wrong)
