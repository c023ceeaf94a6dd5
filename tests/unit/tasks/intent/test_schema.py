"""The exported JSON Schema is current, and lets through what the code lets through."""

import json
from pathlib import Path

import jsonschema
import pytest

from transfer_tasks.intent import TransferIntent
from transfer_tasks.intent.schema import intent_schema

ROOT = Path(__file__).parents[4]
CALL_ID = "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11"
PHONE = {"type": "pstn", "number": "+1 202-555-0143"}


def test_the_exported_schema_is_current():
    exported = (ROOT / "docs" / "intent.schema.json").read_text(encoding="utf-8")
    assert exported == intent_schema(), (
        "run: python -m transfer_tasks.intent.schema > docs/intent.schema.json"
    )


@pytest.mark.parametrize(
    "destination",
    [
        "support",
        "+1 202-555-0143",
        {"name": "support"},
        PHONE,
        [PHONE, f"agent:{CALL_ID}"],
        {"endpoints": [{"type": "sip", "uri": "sip:desk@example.com", "headers": {"X-A": "b"}}]},
        [
            {"action": "connect", "params": {"from": "+1 202-555-0100"}, "endpoints": [PHONE]},
            {"action": "hangup"},
        ],
    ],
)
def test_the_schema_takes_what_the_code_takes(destination):
    validator = jsonschema.Draft202012Validator(json.loads(intent_schema()))
    request = {"call_id": CALL_ID, "destination": destination, "expires_in_seconds": 20}
    validator.validate(request)
    validator.validate(json.loads(TransferIntent.from_dict(request).to_json()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"call_id": CALL_ID},
        {"destination": "support"},
        {"call_id": CALL_ID, "destination": 7},
        {"call_id": CALL_ID, "destination": "support", "session": "a"},
        {"call_id": CALL_ID, "destination": "support", "expires_in_seconds": 301},
        {"call_id": CALL_ID, "destination": [{"number": "+1 202-555-0143"}]},
    ],
)
def test_the_schema_refuses_what_is_plainly_wrong(wrong):
    validator = jsonschema.Draft202012Validator(json.loads(intent_schema()))
    assert not validator.is_valid(wrong)
