"""Each key that people's commands read, damaged one at a time: the rest is shown, and the damage is named."""

from __future__ import annotations

import json

import pytest

from support.cluster import make_intent
from transfer_tasks.ledger.keys import Keys
from transfer_worker.monitoring.metrics import LedgerCollector

KEYS = Keys()
JUNK = b'\xff\xfe{"half'


def another_type(client, key):
    client.delete(key)
    client.set(key, "x", ex=60) if key != KEYS.sweep else client.rpush(key, "x")


def junk_in_hash(client, key):
    client.hset(
        key, mapping={b"ended|junk": JUNK, b"ended|no|such|state": b"1", b"accepted": JUNK, b"posts|x": b"1"}
    )


def junk_in_list(client, key):
    client.lpush(key, JUNK, b"[]", b"{}", b"1")


def junk_in_set(client, key):
    client.zadd(key, {JUNK: float("inf"), b"no-uuid": 1.0})


def junk_pause(client, key):
    client.hset(key, b"support", JUNK)


def junk_limit(client, key):
    client.hset(key, b"call", JUNK)
    client.expire(key, 60)


def junk_heartbeat(client, key):
    client.zadd(KEYS.workers, {"w9": 9e15})
    client.set(KEYS.worker("w9"), JUNK, ex=60)


DAMAGES = [
    *((key, another_type) for key in (
        KEYS.statistics, KEYS.uncounted, KEYS.open_ids, KEYS.unknown, KEYS.workers,
        KEYS.double_posts, KEYS.paused, KEYS.audit, KEYS.audit_heads, KEYS.quarantine, KEYS.limits,
    )),
    (KEYS.statistics, junk_in_hash),
    (KEYS.double_posts, junk_in_list),
    (KEYS.quarantine, junk_in_list),
    (KEYS.open_ids, junk_in_set),
    (KEYS.unknown, junk_in_set),
    (KEYS.paused, junk_pause),
    (KEYS.limits, junk_limit),
    ("transfer:worker:w9", junk_heartbeat),
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "damage"), [pytest.param(key, how, id=f"{key} {how.__name__}") for key, how in DAMAGES]
)
def test_every_reading_command_goes_on(ask, cluster, monkeypatch, key, damage):
    monkeypatch.setenv("PIOPIY_TOKEN", cluster.sandbox.token)
    monkeypatch.setenv("PIOPIY_API_URL", cluster.sandbox.url)
    with cluster.publisher() as publisher:
        good = publisher.submit(make_intent())
    ledger = cluster.ledger()
    with ledger.client as client:
        damage(client, key)

        status = ask("status", "--json")
        assert status.exit_code == 0, status.output
        told = json.loads(status.output)
        texts = " ".join(concern["text"] for concern in told["concerns"])
        if damage in {another_type, junk_heartbeat, junk_limit} and key not in {KEYS.paused, KEYS.quarantine}:
            assert key in told["damaged_keys"]
            assert key in texts
        if key == KEYS.paused:
            assert "Paused by ?" in texts
        assert ask("status").exit_code == 0
        assert good.transfer_id in ask("show", good.transfer_id, "--json").output
        assert ask("why", good.transfer_id).exit_code == 0
        assert ask("doctor", "--json").exit_code in {0, 1}
        for command in (["list", "--json"], ["quarantine", "list", "--json"]):
            answer = ask(*command)
            # A list whose own index is something else can't be shown; it is said which.
            assert answer.exit_code in ({0, 3} if damage is another_type else {0}), answer.output
        names = {metric.name: metric.samples for metric in LedgerCollector(ledger).collect()}
        assert names["transfer_ledger_up"][0].value == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "sending", "attempt": "junk"},
        {"state": "no such state", "intent": JUNK, "labels": JUNK},
        {"intent": b"[]", "attempt": "1", "attempt:1": b'{"begun_ms": "x", "answer": "{", "detail": {}}'},
        {"accepted_ms": "999999999999999", "expires_ms": "-1"},
    ],
)
def test_a_damaged_record_is_shown_as_one_and_hides_no_other(ask, cluster, fields):
    with cluster.publisher() as publisher:
        good, bad = publisher.submit(make_intent()), publisher.submit(make_intent())
    ledger = cluster.ledger()
    with ledger.client as client:
        client.hset(KEYS.record(bad.transfer_id), mapping=fields)
        listed = {one["transfer_id"]: one for one in json.loads(ask("list", "--json").output)["transfers"]}
        assert not listed[good.transfer_id]["is_damaged"]
        shown = json.loads(ask("show", bad.transfer_id, "--json").output)["transfers"][0]
        assert shown["is_damaged"] or "attempt:1" in fields
        assert ask("show", bad.transfer_id).exit_code == 0
        assert ask("why", bad.transfer_id).exit_code in {0, 1}
        assert ask("replay", bad.transfer_id, "--reason", "r", "--no-wait").exit_code in {1, 2}
