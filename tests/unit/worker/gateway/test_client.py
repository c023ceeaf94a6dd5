"""What the gateway settles without a network: values it can't use, requests that never leave, its bound."""

from __future__ import annotations

import pytest

from transfer_tasks.outcome import Reason
from transfer_worker.errors import OutcomeUnknown, Refused
from transfer_worker.gateway import PiopiyGateway

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
NUMBER = "12025550143"
NOWHERE = "http://127.0.0.1:1/v3"


def connect(number: object = NUMBER, **params: object) -> list[dict]:
    return [
        {
            "action": "connect",
            "params": {"caller_id": "12025550100", **params},
            "endpoints": [{"type": "pstn", "number": number}],
        }
    ]


class Interrupting(dict):
    """A pipeline action that raises when the SDK's validator looks at it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(action="hangup")
        self.error = error

    def __contains__(self, _key: object) -> bool:
        raise self.error


@pytest.fixture
def gateway():
    gateway = PiopiyGateway(token="secret-token", base_url=NOWHERE, timeout_seconds=2.0)
    yield gateway
    gateway.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": ""},
        {"token": "two words"},
        {"token": "line\nbreak"},
        {"token": "tökén"},
        {"base_url": ""},
        {"base_url": "rest.piopiy.com/v3"},
        {"base_url": "ftp://rest.piopiy.com/v3"},
        {"base_url": "https:///v3"},
        {"base_url": "https://exa mple/v3"},
        {"base_url": "https://*.example/v3"},
        {"base_url": "https://rest.piopiy.com/v3?a=b"},
        {"timeout_seconds": 0},
        {"timeout_seconds": -1},
        {"timeout_seconds": float("nan")},
    ],
    ids=str,
)
def test_values_that_would_never_work_are_refused_at_once(wrong):
    right = {"token": "secret-token", "base_url": NOWHERE, "timeout_seconds": 1.0}
    with pytest.raises(ValueError) as raised:
        PiopiyGateway(**{**right, **wrong})
    assert "tökén" not in str(raised.value)


@pytest.mark.parametrize(
    ("call_id", "pipeline"),
    [("no-uuid", connect()), (CALL_ID, []), (CALL_ID, connect("+12025550143")), (CALL_ID, "hangup")],
)
def test_what_the_sdk_refuses_is_refused_before_anything_is_sent(gateway, call_id, pipeline):
    with pytest.raises(Refused) as raised:
        gateway.send(call_id=call_id, pipeline=pipeline, idempotency_key="k")
    assert raised.value.reason is Reason.REFUSED_BY_PLATFORM
    assert raised.value.http_status is None


def test_a_refusal_names_the_field_but_no_number(gateway):
    with pytest.raises(Refused) as raised:
        gateway.send(call_id=CALL_ID, pipeline=connect(**{NUMBER: "x"}), idempotency_key="k")
    assert "pipeline[0].params" in str(raised.value) or "Unknown field" in str(raised.value)
    assert NUMBER not in str(raised.value)


def test_a_value_that_json_can_not_carry_is_refused(gateway):
    with pytest.raises(Refused) as raised:
        gateway.send(call_id=CALL_ID, pipeline=connect(metadata={"a": float("nan")}), idempotency_key="k")
    assert raised.value.reason is Reason.REFUSED_BY_PLATFORM


@pytest.mark.parametrize("error", [RuntimeError("a mistake"), RecursionError(), MemoryError()], ids=repr)
def test_an_unexpected_error_is_unknown_and_never_escapes(gateway, error):
    with pytest.raises(OutcomeUnknown) as raised:
        gateway.send(call_id=CALL_ID, pipeline=[Interrupting(error)], idempotency_key="k")
    assert raised.value.reason is Reason.ANSWER_LOST
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_interrupt_is_not_swallowed(gateway, error):
    with pytest.raises(type(error)):
        gateway.send(call_id=CALL_ID, pipeline=[Interrupting(error)], idempotency_key="k")


def test_the_bound_is_the_timeout_and_a_last_look(gateway):
    assert gateway.attempt_bound_seconds == pytest.approx(2.05)
