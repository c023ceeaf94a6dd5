from __future__ import annotations

import uuid
from typing import Any

import pytest

from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason
from transfer_tasks.rules.caller_ids import find_strange_caller_id, parse_caller_ids

KNOWN = parse_caller_ids("+1 202-555-0199,, +44 20 7946 0018")


def connect(caller_id: str | None = None) -> dict[str, Any]:
    params = {"from": caller_id} if caller_id else {}
    return {"action": "connect", "endpoints": ["+1 202-555-0143"], "params": params}


def object_to(destination: Any, **fields: Any) -> Any:
    intent = TransferIntent(call_id=str(uuid.uuid4()), destination=destination, **fields)
    return find_strange_caller_id(intent, KNOWN)


@pytest.mark.parametrize(
    "spelling", ["+1 202-555-0199", "+1 (202) 555-0199", "tel:+12025550199", "+442079460018"]
)
def test_a_known_number_is_allowed_in_any_spelling(spelling: str) -> None:
    assert object_to("support", caller_id=spelling) is None
    assert object_to([connect(), connect(spelling)]) is None


@pytest.mark.parametrize("number", ["+1 202-456-1414", "+1 202-555-0198", "+44 20 7946 0019"])
def test_another_one_is_refused_wherever_it_stands(number: str) -> None:
    of_intent = object_to("support", caller_id=number)
    of_connect = object_to([connect("+1 202-555-0199"), connect(number)])
    assert of_intent.field == "caller_id"
    assert of_connect.field == "destination.pipeline[1].params.caller_id"
    for objection in (of_intent, of_connect):
        assert objection.reason is Reason.CALLER_ID_NOT_ALLOWED
        assert "TRANSFER_CALLER_IDS" in objection.fix
        assert objection.value.endswith(number[-2:])
        assert number.replace(" ", "").replace("-", "")[-7:] not in repr(objection)


def test_a_setting_that_is_no_number_is_not_shown() -> None:
    with pytest.raises(ValueError, match="not a phone number") as refused:
        parse_caller_ids("+1 202-555-0199, +1 202-555-01")
    assert "202" not in str(refused.value).partition(". ")[0]
