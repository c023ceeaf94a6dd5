"""The worker asks the rules again. (The rules themselves: tests/unit/tasks/test_rules.py.)"""

from __future__ import annotations

from typing import Any

import pytest

from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason
from transfer_tasks.registry.destinations import Destination, DestinationRegistry
from transfer_tasks.rules.destination_rules import DestinationRules
from transfer_tasks.rules.unlisted import UnlistedRules
from transfer_worker.delivery.policy import TransferPolicy
from transfer_worker.errors import NotPermitted

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
REGISTRY = DestinationRegistry(
    {
        "support": Destination(
            name="support", description="People who help", endpoints=["+1 202-555-0143"], ring_timeout_sec=20
        ),
        "sales": Destination(
            name="sales",
            description="People who sell",
            endpoints=["+1 202-555-0144"],
            caller_id="+1 202-555-0107",
        ),
    }
)


def route(
    destination: Any, *, unlisted: str = "", default: str | None = "12025550199", **fields: Any
) -> list[dict[str, Any]]:
    policy = TransferPolicy(
        DestinationRules(REGISTRY, UnlistedRules.parse(unlisted)),
        default_caller_id=default,
        caller_ids={"12025550198"},
    )
    return policy.route(TransferIntent(call_id=CALL_ID, destination=destination, **fields))


def refusal(destination: Any, **options: Any) -> NotPermitted:
    with pytest.raises(NotPermitted) as refused:
        route(destination, **options)
    return refused.value


def test_a_name_leads_where_the_registry_says_with_what_it_says():
    (connect,) = route("support")
    assert connect["endpoints"] == [{"type": "pstn", "number": "12025550143"}]
    assert connect["params"]["options"] == {"ring_timeout_sec": 20}


def test_an_unlisted_endpoint_is_allowed_by_rule():
    (connect,) = route("+12025550155", unlisted="US")
    assert connect["endpoints"] == [{"type": "pstn", "number": "12025550155"}]


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        ("nowhere", Reason.UNKNOWN_DESTINATION),
        ("+44 20 7946 0018", Reason.DESTINATION_NOT_ALLOWED),
        ([{"action": "connect", "endpoints": ["sip:a@evil.example"]}], Reason.DESTINATION_NOT_ALLOWED),
    ],
)
def test_what_the_rules_object_to_is_refused_with_their_reason(destination, reason):
    assert refusal(destination, unlisted="US").reason is reason


def test_a_refusal_names_the_field_and_the_mend_and_no_whole_number():
    detail = refusal("+44 20 7946 0018").detail
    assert detail.startswith("destination")
    assert "TRANSFER_ALLOW_UNLISTED" in detail
    assert "79460018" not in detail.replace(" ", "")


@pytest.mark.parametrize("number", ["12025550107", "12025550198", "12025550199"])
def test_the_registrys_the_settings_and_the_default_caller_id_may_be_named(number):
    (connect,) = route("support", caller_id=f"+{number}")
    assert connect["params"]["caller_id"] == number


def test_another_ones_number_is_shown_to_nobody():
    refused = refusal("support", caller_id="+1 202-456-1414")
    assert refused.reason is Reason.CALLER_ID_NOT_ALLOWED
    assert "TRANSFER_CALLER_IDS" in refused.detail
    assert refusal("support", default=None, caller_id="+12025550199").reason is Reason.CALLER_ID_NOT_ALLOWED


def test_without_any_caller_id_nothing_is_sent():
    assert refusal("support", default=None).reason is Reason.CALLER_ID_MISSING
