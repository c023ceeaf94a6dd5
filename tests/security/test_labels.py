"""Attempts to call another number under a name, or to dodge a pause, by what stands beside the intent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.cluster import make_intent
from support.signing import VOICE_KEY
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.outcome import Reason, State

if TYPE_CHECKING:
    from support.attackers import Attacker
    from support.signing import SignedCluster

OPERATOR = OperatorCommands(retention_seconds=1000)


@pytest.mark.parametrize(
    "forged",
    [
        {"labels": '{"destination":"billing"}'},
        {"labels": '{"destination":"endpoints","to":"+1*******45"}'},
        {"labels": "{}"},
        {"labels": "[]"},
        {"call_id": "0f8fad5b-d9cb-469f-a165-70867728950e"},
    ],
)
@pytest.mark.parametrize("by", ["publisher", "nobody's message"])
def test_a_record_whose_label_or_call_is_not_its_intents(
    signed: SignedCluster, attacker: Attacker, forged: dict[str, str], by: str
) -> None:
    intent = make_intent("support")
    with signed.held_up(), signed.bench() as bench:
        transfer_id = signed.submit(VOICE_KEY, intent)
        attacker.alter(transfer_id, **forged)
        if by == "nobody's message":  # without a copy, so that the worker goes by the record
            bare = json.loads(bench.write_message(transfer_id))
            bare["headers"]["intent"] = ""
            attacker.send(json.dumps(bare), is_next=True)
    record = signed.ending(transfer_id)
    assert (record.state, record.reason) == (State.REJECTED, Reason.INVALID_INTENT)
    assert record.labels == {"destination": "support"}
    assert signed.posts(intent.call_id) == 0
    assert signed.posts(forged.get("call_id", "")) == 0
    with signed.bench() as bench:
        last = bench.audit(transfer_id)[-1]
    assert "the record was altered" in last["detail"]


def test_a_pause_by_name_that_labels_dodge(signed: SignedCluster, attacker: Attacker) -> None:
    intent = make_intent("support")
    with signed.held_up(), signed.bench() as bench:
        transfer_id = signed.submit(VOICE_KEY, intent)
        attacker.alter(transfer_id, labels='{"destination":"free"}')
        bench.run(OPERATOR.pause("support", operator="ana", reason="fraud", limit=100))
    try:
        assert signed.ending(transfer_id).state is State.REJECTED
        assert signed.posts(intent.call_id) == 0
    finally:
        with signed.bench() as bench:
            bench.run(OPERATOR.resume("support", operator="ana", reason="tested"))
