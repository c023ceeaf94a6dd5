"""Labels, and whatever else a record says besides its intent: the intent is believed."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest

from support.ledger_bench import outcome_of
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.ledger.verdicts import Begun, Claim, Lost, Reading
from transfer_tasks.outcome import Reason, State

ALTERED = (State.REJECTED, Reason.INVALID_INTENT)


def reading_of(bench, transfer_id, **fields):
    record = bench.record(transfer_id)
    honest = Reading(
        intent_json=record.intent_json, call_id=record.call_id, labels={"destination": "support"}
    )
    return replace(honest, **fields)


def alter(bench, transfer_id, **fields):
    bench.client.hset(bench.keys.record(transfer_id), mapping=fields)


def pause(bench, name):
    commands = OperatorCommands(retention_seconds=1000)
    bench.run(commands.pause(name, operator="ana", reason="test", limit=10))


@pytest.mark.parametrize(
    ("intent", "name"),
    [
        ({"destination": {"name": "billing"}}, "billing"),
        ({"destination": {"endpoints": []}}, "endpoints"),
        ({"destination": {"pipeline": []}}, "pipeline"),
        ({"destination": "billing"}, "billing"),
        ({"destination": "+1 202 555 0100"}, "endpoints"),
        ({"destination": "12025550100"}, "endpoints"),
        ({"destination": "sip:desk@sip.example.com"}, "endpoints"),
        ({"destination": {"type": "pstn", "number": "12025550100"}}, "endpoints"),
        ({"destination": ["+1 202 555 0100"]}, "endpoints"),
        ({"destination": [{"type": "pstn"}]}, "endpoints"),
        ({"destination": [{"action": "hangup"}, {"action": "connect"}]}, "pipeline"),
        ({"destination": {}}, "unreadable"),
        ({"destination": []}, "unreadable"),
        ({"destination": None}, "unreadable"),
        ({}, "unreadable"),
        ([], "unreadable"),
    ],
)
def test_accept_takes_the_name_from_the_intent_that_it_stores(bench, intent, name):
    labels = '{"destination":"support","to":"x"}'
    arguments = {
        "transfer_id": str(uuid.uuid4()), "call_id": "c", "idempotency_key": "", "destination_digest": "d",
        "content_digest": "d", "intent_json": json.dumps(intent), "labels_json": labels,
        "message": "{}", "queue": "transfers", "remaining_ms": 1000, "repeat_window_ms": 0, "reply_to": "",
        "asked_json": "{}", "latest_ms": 10**14,
    }  # fmt: skip
    bench.run(bench.commands.accept(**arguments))
    assert bench.record(arguments["transfer_id"]).labels == {"destination": name}
    assert bench.audit(arguments["transfer_id"])[0]["destination"] == name
    bench.cancel(arguments["transfer_id"])
    assert bench.counted(f"ended|cancelled|cancelled_by_session|{name}") == 1


@pytest.mark.parametrize(
    "forged",
    [{"labels": '{"destination":"billing"}'}, {"labels": "{}"}, {"labels": "junk"}, {"call_id": "another"}],
)
@pytest.mark.parametrize("step", ["claim", "begin"])
def test_a_record_that_says_something_else_than_its_intent_is_rejected_under_the_intents_name(
    bench, waiting, step, forged
):
    reading = reading_of(bench, waiting)
    claim = bench.claim(waiting) if step == "begin" else None
    alter(bench, waiting, **forged)
    if claim:
        lost = bench.run(bench.commands.begin_attempt(claim, attempt=1, reading=reading))
        assert isinstance(lost, Lost)
        outcome = lost.outcome
    else:
        outcome = outcome_of(bench.claim(waiting, routed=reading))
    assert (outcome.state, outcome.reason) == ALTERED
    record = bench.record(waiting)
    assert (record.attempts, record.labels) == (0, {"destination": "support"})
    last = bench.audit(waiting)[-1]
    assert (last["event"], last["destination"]) == ("transfer.finished", "support")
    assert "the record was altered" in last["detail"]


@pytest.mark.parametrize("step", ["claim", "begin"])
def test_a_pause_by_name_is_not_dodged_by_labels(bench, waiting, step):
    reading = reading_of(bench, waiting)
    claim = bench.claim(waiting) if step == "begin" else None
    alter(bench, waiting, labels='{"destination":"free"}')
    pause(bench, "support")
    if claim:
        assert isinstance(bench.run(bench.commands.begin_attempt(claim, attempt=1, reading=reading)), Lost)
    else:
        outcome_of(bench.claim(waiting, routed=reading))
    assert bench.record(waiting).attempts == 0


@pytest.mark.parametrize("labels", ['{"destination":"billing"}', "{}", "[]", "junk"])
@pytest.mark.parametrize("is_paused", [False, True])
def test_a_claim_without_a_reading_goes_by_the_intent_on_record(bench, waiting, labels, is_paused):
    reading = reading_of(bench, waiting)
    alter(bench, waiting, labels=labels)
    if is_paused:
        pause(bench, "support")
        outcome = outcome_of(bench.claim(waiting))
        assert outcome.reason is Reason.DESTINATION_PAUSED
    else:
        lost = bench.run(bench.commands.begin_attempt(bench.claim(waiting), attempt=1, reading=reading))
        assert (lost.outcome.state, lost.outcome.reason) == ALTERED
    assert {line["destination"] for line in bench.audit(waiting)} == {"support"}


def test_where_the_workers_copy_differs_from_the_record_the_claim_begins_nothing(bench, waiting):
    other = reading_of(
        bench, waiting, intent_json='{"destination":"billing"}', labels={"destination": "billing"}
    )
    claim = bench.claim(waiting, routed=other)
    assert isinstance(claim, Claim)
    assert not claim.is_begun
    assert bench.record(waiting).labels == {"destination": "support"}


def test_the_deadline_on_record_can_be_earlier_than_the_signed_one_and_never_later(bench):
    for step in ("claim", "begin"):
        late, early = (bench.accept().transfer_id for _ in range(2))
        now_ms = bench.record(late).accepted_at_ms
        for transfer_id, signed_ms in ((late, now_ms), (early, now_ms + 10**6)):
            reading = reading_of(bench, transfer_id, signer="voice", signed_ms=signed_ms)
            if step == "claim":
                seen = bench.claim(transfer_id, routed=reading)
                ending = None if isinstance(seen, Claim) else outcome_of(seen)
                remaining_ms = seen.remaining_ms if isinstance(seen, Claim) else 0
            else:
                begun = bench.run(
                    bench.commands.begin_attempt(bench.claim(transfer_id), attempt=1, reading=reading)
                )
                ending = begun.outcome if isinstance(begun, Lost) else None
                remaining_ms = begun.remaining_ms if isinstance(begun, Begun) else 0
            if transfer_id == late:
                assert ending is not None
                assert ending.reason is Reason.DEADLINE_PASSED
            else:
                assert ending is None
                assert 0 < remaining_ms <= 60_000


def test_who_has_signed_stands_on_record_and_in_the_audit_log(bench, waiting):
    alter(bench, waiting, signature="voice:00")
    assert bench.record(waiting).asked_by == "voice (not verified)"
    bench.claim(waiting, routed=reading_of(bench, waiting, signer="voice"))
    assert bench.record(waiting).asked_by == "voice"
    assert [line.get("signed_by") for line in bench.audit(waiting)] == [None, "voice", "voice"]
