"""Attempts to call in somebody else's name."""

from __future__ import annotations

import json
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
OTHERS = ["+1 202-456-1414", "+1 (202) 456 1414", "tel:+12024561414", "+44 20 7946 0018", "+1 202-555-0198"]
KEY = parse_signing_key(VOICE_KEY)


def connect(**params: Any) -> dict[str, Any]:
    return {"action": "connect", "endpoints": [PHONE], "params": params}


def make(place: str, number: str) -> TransferIntent:
    match place:
        case "name":
            return make_intent("support", caller_id=number)
        case "number":
            return make_intent(PHONE, caller_id=number)
        case "pipeline":
            return make_intent([connect(caller_id=number)])
        case "second connect":
            return make_intent([connect(caller_id="+1 202-555-0108"), connect(**{"from": number})])
        case _:  # the connect action's own wins, and yet nobody may even ask
            return make_intent([connect(caller_id="+1 202-555-0108")], caller_id=number)


def assert_refused(signed: SignedCluster, transfer_id: str, call_id: str) -> None:
    record = signed.ending(transfer_id)
    assert (record.state, record.reason) == (State.REJECTED, Reason.CALLER_ID_NOT_ALLOWED), record.detail
    assert signed.posts(call_id) == 0
    with signed.bench() as bench:
        last = bench.audit(transfer_id)[-1]
    assert (last["event"], last["reason"]) == ("transfer.finished", "caller_id_not_allowed")
    assert "TRANSFER_CALLER_IDS" in last["detail"]
    assert "4561414" not in last["detail"]


@pytest.mark.parametrize("number", OTHERS)
@pytest.mark.parametrize("place", ["name", "number", "pipeline", "second connect", "overridden"])
def test_a_number_that_is_somebody_elses(
    signed: SignedCluster, attacker: Attacker, place: str, number: str
) -> None:
    intent = make(place, number)
    assert_refused(signed, attacker.submit(VOICE_KEY, intent), intent.call_id)


@pytest.mark.parametrize("place", ["name", "pipeline"])
def test_in_a_task_of_plain_celery(signed: SignedCluster, attacker: Attacker, place: str) -> None:
    intent = make(place, OTHERS[0])
    attacker.push(intent.transfer_id, KEY.sign(intent.to_json()))
    assert_refused(signed, intent.transfer_id, intent.call_id)


def test_written_into_the_record(signed: SignedCluster, attacker: Attacker) -> None:
    intent = make_intent("support")
    with signed.held_up(), signed.bench() as bench:
        transfer_id = signed.submit(VOICE_KEY, intent)
        asked = json.loads(bench.record(transfer_id).intent_json) | {"caller_id": "12024561414"}
        text, signature = KEY.sign(json.dumps(asked))
        attacker.alter(transfer_id, intent=text, signature=signature)
    assert_refused(signed, transfer_id, intent.call_id)


@pytest.mark.parametrize(
    ("number", "why"), [("+1 202-555-0199", "PIOPIY_NUMBER"), ("+1 202-555-0108", "TRANSFER_CALLER_IDS")]
)
def test_a_number_of_our_own_is_shown(signed: SignedCluster, number: str, why: str) -> None:
    intent = make_intent("support", caller_id=number)
    assert signed.ending(signed.submit(VOICE_KEY, intent)).state is State.SUBMITTED, why
    (post,) = signed.cluster.sandbox.requests(intent.call_id)
    assert post["pipeline"][0]["params"]["caller_id"][-4:] == number[-4:]
