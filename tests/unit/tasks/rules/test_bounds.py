from __future__ import annotations

import uuid
from typing import Any

import pytest

from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason
from transfer_tasks.rules.bounds import Bounds

PHONE = "+1 202-555-0143"


def connect(count: int = 1, **options: int) -> dict[str, Any]:
    return {"action": "connect", "endpoints": [PHONE] * count, "params": {"options": options}}


def object_to(destination: Any, bounds: Bounds | None = None, **options: int) -> Any:
    intent = TransferIntent(call_id=str(uuid.uuid4()), destination=destination, options=options)
    return (bounds or Bounds()).find_objection(intent)


@pytest.mark.parametrize(
    "destination",
    ["support", [PHONE] * 5, [connect(2), connect(3)], [connect(max_duration_sec=3600, ring_timeout_sec=60)]],
)
def test_what_is_within_the_bounds_is_allowed(destination: Any) -> None:
    assert object_to(destination, max_duration_sec=3600, ring_timeout_sec=60) is None


@pytest.mark.parametrize(
    ("destination", "field", "legs"),
    [
        ([PHONE] * 6, "destination.endpoints", "6 legs"),
        ([connect(6)], "destination.pipeline", "6 legs"),
        ([connect(3), connect(3)], "destination.pipeline", "6 legs"),
        ([connect(20)] * 20, "destination.pipeline", "400 legs"),
    ],
)
def test_legs_are_counted_over_all_connect_actions(destination: Any, field: str, legs: str) -> None:
    objection = object_to(destination)
    assert (objection.reason, objection.field, objection.value) == (Reason.ACTION_NOT_ALLOWED, field, legs)
    assert objection.fix == "Name 5 at most, or raise TRANSFER_MAX_LEGS."
    assert object_to(destination, Bounds(legs=400)) is None


@pytest.mark.parametrize(
    ("option", "seconds", "setting"),
    [("max_duration_sec", 3601, "MAX_DURATION_SECONDS"), ("ring_timeout_sec", 61, "MAX_RING_SECONDS")],
)
def test_durations_are_bounded_wherever_they_stand(option: str, seconds: int, setting: str) -> None:
    of_intent = object_to("support", **{option: seconds})
    of_connect = object_to([connect(), connect(**{option: seconds})])
    assert of_intent.field == f"options.{option}"
    assert of_connect.field == f"destination.pipeline[1].params.options.{option}"
    for objection in (of_intent, of_connect):
        assert (objection.reason, objection.value) == (Reason.ACTION_NOT_ALLOWED, str(seconds))
        assert f"TRANSFER_{setting}" in objection.fix
    assert object_to("support", Bounds(duration_seconds=7200, ring_seconds=120), **{option: seconds}) is None
