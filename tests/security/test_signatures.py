"""Attempts to have a call moved without the key: a publisher's, plain Celery's, and raw writes to Redis."""

from __future__ import annotations

import hmac
import json
import os
import re
import shutil
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from support.cluster import make_intent
from support.signing import CRM_KEY, STRANGE_KEY, VOICE_KEY
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.message import build_message
from transfer_tasks.signature import Written, parse_signing_key
from transfer_worker.roles import Role

if TYPE_CHECKING:
    from support.attackers import Attacker
    from support.signing import SignedCluster

INVALID = (State.REJECTED, Reason.SIGNATURE_INVALID)
SENT = (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
VOICE = parse_signing_key(VOICE_KEY)
EXAMPLE = Path(__file__).parents[2] / "examples" / "signed_transfer.mjs"
PIPELINE = [{"action": "connect", "params": {}, "endpoints": [{"type": "pstn", "number": "12025550145"}]}]


def test_what_is_signed_is_carried_out_in_its_keys_name(signed: SignedCluster) -> None:
    intent = make_intent("support")
    record = signed.ending(signed.submit(VOICE_KEY, intent))
    assert (record.state, record.reason) == SENT
    assert record.asked_by == "voice"
    assert signed.posts(intent.call_id) == 1
    with signed.bench() as bench:
        lines = {line["event"].removeprefix("transfer."): line for line in bench.audit(record.transfer_id)}
    assert lines["accepted"]["signed_as"] == "voice"
    assert {lines[step]["signed_by"] for step in ("claimed", "attempt_started", "finished")} == {"voice"}


@pytest.mark.parametrize("key", [None, STRANGE_KEY, f"nobody:{'v' * 32}"])
def test_a_publisher_without_the_key(signed: SignedCluster, attacker: Attacker, key: str | None) -> None:
    intent = make_intent("support")
    record = signed.ending(attacker.submit(key, intent))
    assert (record.state, record.reason) == INVALID
    assert signed.posts(intent.call_id) == 0


@pytest.mark.parametrize("destination", ["billing", "+1 202-555-0145", "sip:desk@sip.example.com", PIPELINE])
def test_a_publisher_whose_key_is_bound_to_other_names(
    signed: SignedCluster, attacker: Attacker, destination: object
) -> None:
    intent = make_intent(destination)
    record = signed.ending(attacker.submit(CRM_KEY, intent))
    assert (record.state, record.reason) == INVALID
    assert "crm" in record.detail
    assert signed.posts(intent.call_id) == 0


def test_a_bound_key_asks_for_its_own_name(signed: SignedCluster) -> None:
    record = signed.ending(signed.submit(CRM_KEY))
    assert (record.state, record.asked_by) == (State.SUBMITTED, "crm")


@pytest.mark.parametrize(
    "kind",
    ["object", "text", "unsigned text", "strange key", "another text", "cut", "a name for a signature"],
)
def test_plain_celery_without_the_key(signed: SignedCluster, attacker: Attacker, kind: str) -> None:
    intent = make_intent("support")
    text = intent.to_json()
    good = VOICE.sign(text)
    if kind == "object":
        attacker.push(intent.transfer_id, asked=json.loads(text))
    elif kind == "text":
        attacker.push(intent.transfer_id, asked=text)
    else:
        written = {
            "unsigned text": Written(text),
            "strange key": parse_signing_key(STRANGE_KEY).sign(text),
            "another text": good._replace(text=text.replace("support", "billing")),
            "cut": good._replace(signature=good.signature[:-1]),
            "a name for a signature": good._replace(signature="voice"),
        }[kind]
        attacker.push(intent.transfer_id, written)
    record = signed.ending(intent.transfer_id)
    assert (record.state, record.reason) == INVALID
    assert signed.posts(intent.call_id) == 0


def test_an_old_message_of_plain_celery_under_a_new_id(signed: SignedCluster, attacker: Attacker) -> None:
    intent = make_intent("support")
    written = VOICE.sign(intent.to_json())
    signed.push(intent.transfer_id, written)
    assert (first := signed.ending(intent.transfer_id)).state is State.SUBMITTED, first.detail
    other = str(uuid.uuid4())
    attacker.push(other, written)
    assert signed.ending(other).reason is Reason.INVALID_INTENT
    assert signed.posts(intent.call_id) == 1


def test_an_old_message_once_more(signed: SignedCluster, attacker: Attacker) -> None:
    """Of plain Celery, and of a publisher: the one that Redis had is pushed again."""
    intent = make_intent("support")
    written = VOICE.sign(intent.to_json())
    signed.push(intent.transfer_id, written)
    before = signed.ending(intent.transfer_id)
    attacker.push(intent.transfer_id, written)
    ours = build_message(
        transfer_id=intent.transfer_id,
        call_id=intent.call_id,
        labels={},
        queue="transfers",
        written=written,
    )
    attacker.send(ours)
    after = signed.ending(signed.submit(VOICE_KEY))  # first in, first out: they are served
    assert after.state is State.SUBMITTED
    assert signed.ending(intent.transfer_id) == before
    assert signed.posts(intent.call_id) == 1


@pytest.mark.parametrize("role", [None, Role.PUBLISHER, Role.WORKER, Role.OPERATOR])
def test_a_signed_request_is_carried_out_again_to_the_same_place_until_its_deadline(
    signed: SignedCluster, attacker: Attacker
) -> None:
    """It is among what remains: who can delete the record can have the same call moved there once more."""
    intent = make_intent("support")
    written = VOICE.sign(intent.to_json())
    signed.push(intent.transfer_id, written)
    assert signed.ending(intent.transfer_id).state is State.SUBMITTED
    with attacker.trying("remove a record"), attacker.bench() as others:
        others.client.expire(others.keys.record(intent.transfer_id), 0)
        others.client.expire(others.keys.call(intent.call_id), 0)
    attacker.push(intent.transfer_id, written)
    assert signed.ending(intent.transfer_id).state is State.SUBMITTED
    first, second = signed.cluster.sandbox.requests(intent.call_id)
    assert first["pipeline"] == second["pipeline"]


def test_an_old_signed_text_whose_record_is_gone(signed: SignedCluster, attacker: Attacker) -> None:
    intent = make_intent("support", expires_in_seconds=1)
    written = VOICE.sign(intent.to_json())
    signed.wait_for_clock(intent.expires_at.timestamp() * 1000)
    attacker.push(intent.transfer_id, written)
    assert signed.ending(intent.transfer_id).state is State.EXPIRED
    assert signed.posts(intent.call_id) == 0


@pytest.mark.parametrize(
    "forgery",
    [
        "another destination",
        "signed by a strange key",
        "no signature",
        "another transfer's",
        "with the copy in the message",
    ],
)
def test_a_record_that_is_altered_between_accept_and_claim(
    signed: SignedCluster, attacker: Attacker, forgery: str
) -> None:
    intent, other = make_intent("support"), make_intent("support")
    with signed.held_up(), signed.bench() as bench:
        transfer_id = signed.submit(VOICE_KEY, intent)
        text = bench.record(transfer_id).intent_json
        altered = text.replace("support", "billing")
        fields = {
            "another destination": {"intent": altered},
            "signed by a strange key": parse_signing_key(STRANGE_KEY).sign(altered)._asdict(),
            "no signature": {"intent": altered, "signature": ""},
            "another transfer's": VOICE.sign(other.to_json())._asdict(),
            "with the copy in the message": {"intent": altered},
        }[forgery]
        if "text" in fields:
            fields["intent"] = fields.pop("text")
        attacker.alter(transfer_id, **fields)
        if forgery == "with the copy in the message":
            unsigned = build_message(
                transfer_id=transfer_id,
                call_id=intent.call_id,
                labels={},
                queue="transfers",
                written=Written(altered),
            )
            attacker.send(unsigned, is_next=True)
    record = signed.ending(transfer_id)
    assert record.state is State.REJECTED
    assert record.reason is (
        Reason.INVALID_INTENT if forgery == "another transfer's" else Reason.SIGNATURE_INVALID
    )
    assert signed.posts(intent.call_id) + signed.posts(other.call_id) == 0


@pytest.mark.parametrize("fields", [{"expires_ms": "99999999999999"}, {"expires_ms": "9" * 15}])
def test_a_deadline_on_record_that_is_put_off(
    signed: SignedCluster, attacker: Attacker, fields: dict[str, str]
) -> None:
    intent = make_intent("support", expires_in_seconds=1)
    with signed.held_up(), signed.bench() as bench:
        transfer_id = signed.submit(VOICE_KEY, intent)
        signed_until_ms = bench.record(transfer_id).expires_at_ms
        attacker.alter(transfer_id, **fields)
        signed.wait_for_clock(signed_until_ms)
    assert signed.ending(transfer_id).state is State.EXPIRED
    assert signed.posts(intent.call_id) == 0


def test_the_node_example_signs_what_this_worker_verifies(signed: SignedCluster) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: examples/signed_transfer.mjs was not run")
    call_id = str(uuid.uuid4())

    def run(key: str) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "TRANSFER_REDIS_URL": signed.cluster.redis_url,
            "TRANSFER_SIGNING_KEY": key,
        }
        asked = subprocess.run(
            [node, str(EXAMPLE), call_id, "support"],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert asked.returncode == 0, asked.stderr
        return asked.stdout.strip()

    assert (refused := signed.ending(run(STRANGE_KEY))).reason is Reason.SIGNATURE_INVALID, refused.detail
    assert signed.posts(call_id) == 0
    record = signed.ending(run(VOICE_KEY))
    assert (record.state, record.asked_by) == (State.SUBMITTED, "voice"), record.detail
    assert signed.posts(call_id) == 1


def test_the_page_for_plain_celery_signs_what_this_worker_verifies(
    signed: SignedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "celery.md").read_text()
    (code,) = re.findall(r"## Signed requests\n.*?```python\n(.*?)```", page, re.DOTALL)
    app = Celery("any producer", broker=signed.cluster.redis_url, set_as_current=False)
    names = {"app": app, "call_id": str(uuid.uuid4()), "os": os, "uuid": uuid, "json": json, "hmac": hmac}
    names |= {"datetime": datetime, "timedelta": timedelta, "UTC": UTC}
    monkeypatch.setenv("TRANSFER_SIGNING_KEY", VOICE_KEY)
    try:
        exec(code, names)
    finally:
        app.close()
    record = signed.ending(str(names["task_id"]))
    assert (record.state, record.asked_by) == (State.SUBMITTED, "voice"), record.detail
