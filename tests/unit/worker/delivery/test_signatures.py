"""With verify keys set: what is carried out, in whose name, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.delivering import CALL_ID, ended
from transfer_tasks.intent import TransferIntent
from transfer_tasks.ledger.commands import LedgerCommands
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.acceptance import build_accept
from transfer_tasks.registry.destinations import Destination, DestinationRegistry
from transfer_tasks.rules.destination_rules import DestinationRules
from transfer_tasks.rules.unlisted import UnlistedRules
from transfer_tasks.signature import Key, Written
from transfer_worker.delivery.message import Notification, Request
from transfer_worker.delivery.policy import TransferPolicy
from transfer_worker.errors import NotPermitted
from transfer_worker.queue.poison import read_element

VOICE, CRM = Key("voice", "s" * 32), Key("crm", "o" * 32, frozenset({"support"}))
INVALID = (State.REJECTED, Reason.SIGNATURE_INVALID)
SENT = (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)

POLICY = TransferPolicy(
    DestinationRules(
        DestinationRegistry(
            {
                name: Destination(name=name, description=name, endpoints=["+12025550100"])
                for name in ("support", "billing")
            }
        ),
        UnlistedRules.parse("US"),
    ),
    default_caller_id="12025550199",
    verify_keys={"voice": VOICE, "crm": CRM},
)


@pytest.fixture
def stage(stage: Any) -> Any:
    stage.service = replace(stage.service, policy=POLICY)
    return stage


def make(stage: Any, **fields: Any) -> TransferIntent:
    known = {"transfer_id": stage.transfer_id, "call_id": CALL_ID, "destination": "support"}
    return TransferIntent(**{**known, **fields})


def publish(stage: Any, written: Written, *, copy: Written | None = None, **fields: Any) -> Any:
    """Put a transfer on record as somebody wrote it, and perform its message."""
    stage.ledger.add(make(stage, **fields), written=written)
    return stage.service.perform(Notification(transfer_id=stage.transfer_id, copy=copy or Written("")))


def bring(stage: Any, asked: object, signature: object = None) -> Any:
    """Perform the message of a producer that only has Celery."""
    return stage.service.perform(Request(transfer_id=stage.transfer_id, asked=asked, signature=signature))


@pytest.mark.parametrize("has_copy", [False, True])
def test_what_is_signed_is_carried_out_with_and_without_a_copy_in_the_message(stage, has_copy):
    written = VOICE.sign(make(stage).to_json())
    assert ended(publish(stage, written, copy=written if has_copy else None)) == SENT
    assert len(stage.gateway.sent) == 1


@pytest.mark.parametrize("has_copy", [False, True])
@pytest.mark.parametrize("kind", ["unsigned", "altered", "forged", "unknown key", "not JSON any more"])
def test_what_nobody_with_a_key_has_asked_for_is_refused(stage, kind, has_copy):
    text = make(stage).to_json()
    signed = VOICE.sign(text)
    written = {
        "unsigned": Written(text),
        "altered": signed._replace(text=text.replace("support", "billing")),
        "forged": Key("voice", "x" * 32).sign(text),
        "unknown key": Key("nobody", "s" * 32).sign(text),
        "not JSON any more": signed._replace(text=text[:-1]),
    }[kind]
    assert ended(publish(stage, written, copy=written if has_copy else None)) == INVALID
    assert stage.gateway.sent == []


def test_a_message_whose_copy_is_signed_does_not_stand_for_a_record_that_is_not(stage):
    signed = VOICE.sign(make(stage).to_json())
    unsigned = Written(make(stage, destination="billing").to_json())
    assert ended(publish(stage, unsigned, copy=signed)) == INVALID
    assert stage.gateway.sent == []


def test_a_signed_intent_of_another_transfer_is_not_carried_out_again_under_this_ones_id(stage):
    old = VOICE.sign(TransferIntent(call_id=CALL_ID, destination="support").to_json())
    assert ended(publish(stage, old, copy=old)) == (State.REJECTED, Reason.INVALID_INTENT)
    assert stage.gateway.sent == []


@pytest.mark.parametrize(
    ("destination", "ending"),
    [
        ("support", SENT),
        ("billing", INVALID),
        ("+12025550100", INVALID),
        (
            [{"action": "connect", "params": {}, "endpoints": [{"type": "pstn", "number": "12025550100"}]}],
            INVALID,
        ),
    ],
)
def test_a_key_that_is_bound_to_names_asks_for_nothing_else(stage, destination, ending):
    written = CRM.sign(make(stage, destination=destination).to_json())
    assert ended(publish(stage, written, copy=written, destination=destination)) == ending
    assert len(stage.gateway.sent) == (ending is SENT)


def test_plain_celery_passes_a_signed_text_that_is_kept_byte_for_byte(stage):
    fields = json.loads(make(stage).to_json())
    text = json.dumps(dict(reversed(fields.items())), indent=1)
    assert ended(bring(stage, text, VOICE.sign(text).signature)) == SENT
    assert stage.ledger.records[stage.transfer_id].written.text == text


@pytest.mark.parametrize("signature", [None, "", "voice:00", 1, ["voice"], {"voice": 1}])
def test_what_plain_celery_passes_unsigned_is_refused_and_nothing_is_accepted(stage, signature):
    assert ended(bring(stage, make(stage).to_json(), signature)) == INVALID
    assert ended(bring(stage, json.loads(make(stage).to_json()), signature)) == INVALID
    assert stage.ledger.records[stage.transfer_id].intent is None
    assert stage.gateway.sent == []


@pytest.mark.parametrize("missing", ["transfer_id", "expires_at"])
def test_a_signed_text_that_could_be_sent_once_more_is_refused(stage, missing):
    fields = json.loads(make(stage).to_json())
    del fields[missing]
    text = json.dumps(fields)
    performed = bring(stage, text, VOICE.sign(text).signature)
    assert ended(performed) == (State.REJECTED, Reason.INVALID_INTENT)
    assert performed.outcome.transfer_id == stage.transfer_id
    assert list(stage.ledger.records) == [stage.transfer_id]
    assert stage.gateway.sent == []


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_text_with_another_transfers_id_is_refused_under_its_tasks_id(stage, is_signed):
    open_to_all = TransferPolicy(POLICY._rules, default_caller_id="12025550199")
    stage.service = replace(stage.service, policy=POLICY if is_signed else open_to_all)
    text = TransferIntent(call_id=CALL_ID, destination="support").to_json()
    performed = bring(stage, text, VOICE.sign(text).signature if is_signed else None)
    assert ended(performed) == (State.REJECTED, Reason.INVALID_INTENT)
    assert list(stage.ledger.records) == [stage.transfer_id]


def test_an_unsigned_text_without_an_id_becomes_a_transfer_under_its_tasks_id(stage):
    open_to_all = TransferPolicy(POLICY._rules, default_caller_id="12025550199")
    stage.service = replace(stage.service, policy=open_to_all)
    assert ended(bring(stage, json.dumps({"call_id": CALL_ID, "destination": "support"}))) == SENT
    assert list(stage.ledger.records) == [stage.transfer_id]


def test_an_unsigned_message_with_the_id_of_a_signed_transfer_leaves_it_alone(stage):
    written = VOICE.sign(make(stage).to_json())
    record = stage.ledger.add(make(stage), written=written)
    bring(stage, json.loads(make(stage, destination="billing").to_json()))
    assert record.state is State.WAITING
    assert ended(stage.service.perform(Notification(transfer_id=stage.transfer_id, copy=written))) == SENT


def test_without_verify_keys_a_signed_text_is_carried_out_like_any_other(stage):
    open_to_all = TransferPolicy(POLICY._rules, default_caller_id="12025550199")
    stage.service = replace(stage.service, policy=open_to_all)
    text = make(stage).to_json()
    assert ended(bring(stage, text, "nobody:00")) == SENT


def published(intent: TransferIntent) -> Written:
    """Return what a worker gets to see of a signed intent, by way of the message."""
    commands = LedgerCommands(retention_seconds=60)
    accept = build_accept(commands, intent, queue="transfers", signing_key=VOICE)
    arguments = dict(zip(accept.script.arguments, accept.arguments[2:], strict=True))
    headers = read_element(str(arguments["message"]).encode(), queue="transfers").as_seen_by_celery()[
        "headers"
    ]
    copy = Written(headers["intent"], headers["signature"])
    assert copy == (arguments["intent"], arguments["signature"])
    return copy


TEXTS = st.text(st.characters(blacklist_categories=["C", "Z"]), max_size=200)
intents = st.builds(
    TransferIntent,
    call_id=st.uuids(version=4),
    destination=st.sampled_from(["support", "+12025550100", ["+12025550100", "sip:desk@sip.example.com"]]),
    reason=TEXTS,
    requested_by=TEXTS,
    metadata=st.dictionaries(st.from_regex(r"\A[a-z_]{1,9}\Z"), TEXTS, max_size=4),
    expires_at=st.just(datetime.now(UTC) + timedelta(seconds=200)),
)


@given(intents)
def test_whatever_the_publisher_builds_the_worker_verifies(intent):
    assert POLICY.identify(published(intent)) == VOICE


@given(intents, st.data())
def test_any_changed_byte_of_what_the_publisher_builds_is_refused(intent, data):
    written = published(intent)
    at = data.draw(st.integers(0, len(written.text.encode()) - 1))
    before = written.text.encode()
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != before[at]))
    altered = (before[:at] + bytes([byte]) + before[at + 1 :]).decode(errors="surrogateescape")
    with pytest.raises(NotPermitted) as refused:
        POLICY.identify(written._replace(text=altered))
    assert refused.value.reason is Reason.SIGNATURE_INVALID
