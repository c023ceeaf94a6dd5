"""Attempts at toll fraud: premium numbers in every spelling, SIP users that are numbers, legs and hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.cluster import make_intent
from support.signing import VOICE_KEY
from transfer_tasks.outcome import Reason, State
from transfer_tasks.signature import parse_signing_key

if TYPE_CHECKING:
    from support.attackers import Attacker
    from support.signing import SignedCluster
    from transfer_tasks.intent import TransferIntent

PHONE = "+1 202-555-0100"
PREMIUM = [
    "+1 900-555-0143",
    "+1 (900) 555 0143",
    "tel:+1-900-555-0143",
    "001 900 555 0143",
    "+1 202-976-5555",
    "+1 212 976 1616",
    "+1 202-555-1212",
    "+1 202-950-1234",
    "+1 202-411-4411",
    "+1 600 555 1234",
    "+44 909 879 0123",
    "+44 70 1234 5678",
    "+881 612345678",
    "+979 123 456 789",
    "+1 876-926-1234",
]
SIP_USERS = [
    "19005550143",
    "+19005550143",
    "+1-900-555-0143",
    "1.900.555.0143",
    "0019005550143",
    "01119005550143",
    "9005550143",
    "2029765555",
    "12025551212",
    "+881612345678",
    "+18769261234",
    "00442079460018",
    "*6719005550143",
    "911",
    "9.1.1",
]


def connect(*endpoints: Any, **options: int) -> dict[str, Any]:
    return {"action": "connect", "endpoints": list(endpoints), "params": {"options": options}}


BEYOND = {
    "400 legs for two hours each": make_intent([connect(*[PHONE] * 20, max_duration_sec=7200)] * 20),
    "six legs": make_intent([PHONE] * 6),
    "six legs in turn": make_intent([connect(PHONE)] * 6),
    "two hours": make_intent("support", options={"max_duration_sec": 7200}),
    "two hours in a pipeline": make_intent([connect(PHONE, max_duration_sec=7200)]),
    "two minutes of ringing": make_intent("support", options={"ring_timeout_sec": 120}),
    "a header that says who is calling": make_intent(
        {"type": "sip", "uri": "sip:desk@sip.example.com", "headers": {"X-Authenticated-User": "admin"}}
    ),
    "a header in a pipeline": make_intent(
        [connect({"type": "sip", "uri": "sip:desk@sip.example.com", "headers": {"x-admin": "1"}})]
    ),
}


def assert_refused(signed: SignedCluster, transfer_id: str, intent: TransferIntent, reason: Reason) -> None:
    record = signed.ending(transfer_id)
    assert (record.state, record.reason) == (State.REJECTED, reason), record.detail
    assert signed.posts(intent.call_id) == 0
    with signed.bench() as bench:
        last = bench.audit(transfer_id)[-1]
    assert (last["event"], last["reason"]) == ("transfer.finished", reason)
    assert last["detail"].startswith(("destination", "options"))


@pytest.mark.parametrize("number", PREMIUM)
def test_a_number_that_costs_more(signed: SignedCluster, attacker: Attacker, number: str) -> None:
    intent = make_intent(number)
    transfer_id = attacker.submit(VOICE_KEY, intent)
    assert_refused(signed, transfer_id, intent, Reason.DESTINATION_NOT_ALLOWED)


@pytest.mark.parametrize("user", SIP_USERS)
def test_a_number_behind_an_allowed_sip_host(signed: SignedCluster, attacker: Attacker, user: str) -> None:
    intent = make_intent([connect(f"sip:{user}@sip.example.com")])
    transfer_id = attacker.submit(VOICE_KEY, intent)
    assert_refused(signed, transfer_id, intent, Reason.DESTINATION_NOT_ALLOWED)


@pytest.mark.parametrize("kind", BEYOND)
@pytest.mark.parametrize("by", ["publisher", "plain Celery"])
def test_more_than_is_allowed(signed: SignedCluster, attacker: Attacker, kind: str, by: str) -> None:
    intent = make_intent(BEYOND[kind].destination, options=BEYOND[kind].options)
    if by == "publisher":
        transfer_id = attacker.submit(VOICE_KEY, intent)
    else:
        transfer_id = intent.transfer_id
        attacker.push(transfer_id, parse_signing_key(VOICE_KEY).sign(intent.to_json()))
    assert_refused(signed, transfer_id, intent, Reason.ACTION_NOT_ALLOWED)


@pytest.mark.parametrize("user", ["desk", "1001", "12025550100", "+1-202-555-0100", "2025550100"])
def test_an_extension_and_an_allowed_number_are_called(signed: SignedCluster, user: str) -> None:
    intent = make_intent(f"sip:{user}@sip.example.com", options={"max_duration_sec": 3600})
    assert signed.ending(signed.submit(VOICE_KEY, intent)).state is State.SUBMITTED
    assert signed.posts(intent.call_id) == 1
