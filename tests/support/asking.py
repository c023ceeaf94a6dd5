"""Intents as a caller writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from transfer_tasks.errors import InvalidIntent
from transfer_tasks.intent import (
    TransferIntent,
)

CALL_ID = "6f1c1f0e-5b0a-4d4e-9a51-0c9d6a3c2b11"


AGENT_ID = "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"


PHONE = {"type": "pstn", "number": "12025550143"}


CONNECT = {"action": "connect", "params": {"caller_id": "12025550100"}, "endpoints": [PHONE]}


def intent(**fields: Any) -> TransferIntent:
    return TransferIntent(**{"call_id": CALL_ID, "destination": "support", **fields})


def stored(value: TransferIntent) -> Any:
    return json.loads(value.to_json())


def refused(**fields: Any) -> InvalidIntent:
    with pytest.raises(InvalidIntent) as caught:
        intent(**fields)
    return caught.value
