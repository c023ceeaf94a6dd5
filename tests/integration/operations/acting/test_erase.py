"""What people have said in one call's transfers goes from all of Redis; what suppresses repeats stays."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from celery import Celery

from support import wait_until
from support.cluster import make_intent
from support.contents import everything
from support.ledger_bench import disbelieve, start
from support.operating import as_json, send
from transfer_tasks.errors import IdempotencyConflict
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.message import TASK_NAME
from transfer_worker.audit.outbox import GROUP, entry_of
from transfer_worker.operations.acting.erasing import mentions

pytestmark = pytest.mark.usefixtures("no_key_leaks")

WORD = "Hopper"
SAID = {
    "reason": f"Grace {WORD} wants her invoice",
    "requested_by": f"agent of {WORD}",
    "metadata": {"customer": WORD, "number": 7},
}


def dump(client: Any) -> str:
    """Return everything that Redis holds, as text; without times to live, which go down."""
    return "\n".join(f"{key} {held.value!r}" for key, held in everything(client).items())


def refusal(answer: Any) -> str:
    assert answer.exit_code == 1, answer.output
    return str(json.loads(answer.stdout)["error"]["message"])


def test_nothing_that_was_said_is_left_in_redis_and_the_rest_of_it_is(ask, worker, bench, publisher, cluster):
    call_id, other_call = str(uuid.uuid4()), str(uuid.uuid4())
    first = publisher.submit(make_intent("gone", call_id=call_id, idempotency_key="order-7", **SAID))
    first.outcome()
    second = publisher.submit(make_intent("+1 202-555-0100", call_id=call_id, **SAID))
    second.outcome()
    with Celery(broker=cluster.redis_url, set_as_current=False) as app:
        refused = str(uuid.uuid4())
        wrong = {"call_id": call_id, "destination": "support", WORD: WORD}
        app.send_task(TASK_NAME, kwargs={"intent": wrong}, task_id=refused, expires=60, queue="transfers")
        wait_until(lambda: bench.ledger.read(refused) and bench.record(refused).outcome, 30)
        poison = {"intent": {"call_id": call_id.upper()}, "word": WORD}
        app.send_task(TASK_NAME, kwargs=poison, task_id=str(uuid.uuid4()), queue="transfers")
        wait_until(lambda: bench.client.llen(bench.keys.quarantine), 30)
    bench.client.hset(bench.keys.record(second.transfer_id), "what_a_later_version_keeps", WORD)
    bench.client.hset(bench.keys.damaged(first.transfer_id), "intent", WORD)
    bench.client.expire(bench.keys.damaged(first.transfer_id), 100)
    # Another call, of which nothing must go.
    other = publisher.submit(make_intent("support", call_id=other_call, reason="Ada Lovelace calls"))
    other.outcome()
    before = {
        one: bench.client.hgetall(bench.keys.record(one)) for one in (first.transfer_id, second.transfer_id)
    }
    assert WORD in dump(bench.client)

    gone = as_json(ask("erase", call_id, "--reason", "she has asked for it", "--wait", "60", "--json"))

    assert (gone["call_id"], gone["transfers"], gone["dead_letters"]) == (call_id, 3, 1)
    left = dump(bench.client)
    # Who asks most is counted under the name for two hours: docs/data.md.
    assert WORD not in "\n".join(
        line for line in left.splitlines() if not line.startswith("transfer:statistics:")
    )
    assert "+1*******00" not in json.dumps([bench.client.hgetall(bench.keys.record(one)) for one in before])
    assert "Ada Lovelace calls" in left
    for transfer_id, old in before.items():
        new = bench.client.hgetall(bench.keys.record(transfer_id))
        lost = {
            "intent",
            "signature",
            "labels",
            "detail",
            "last_detail",
            "reply_to",
            "what_a_later_version_keeps",
        }
        kept = {name: value for name, value in old.items() if name not in lost and ":" not in name}
        assert kept.items() <= new.items()
        assert "answer" in old["attempt:1"]
        note = json.loads(old["attempt:1"])
        proven = {name: note[name] for name in note.keys() - {"answer", "detail"}}
        assert json.loads(new["attempt:1"]) == proven
    (line,) = [line for line in bench.audit() if line["event"] == "call.erased"]
    assert (line["call_id"], line["operator"], line["detail"]) == (call_id, "ana", "she has asked for it")
    assert [one["call_id"] for one in bench.audit()].count(call_id) == 1
    for command in (("show", call_id), ("why", call_id), ("list",), ("status",), ("tail", "--no-follow")):
        assert ask(*command).exit_code == 0
    assert as_json(ask("show", call_id, "--json"))["transfers"][0]["erased_at"]
    # The same again is safe.
    assert as_json(ask("erase", call_id, "--reason", "r", "--wait", "60", "--json"))["transfers"] >= 2


def test_what_suppresses_repeats_stays(ask, worker, publisher, cluster):
    intent = make_intent("+1 202-555-0100", idempotency_key="order-7", **SAID)
    handle = publisher.submit(intent)
    handle.outcome()
    as_json(ask("erase", intent.call_id, "--reason", "r", "--wait", "60", "--json"))

    assert publisher.submit(intent).transfer_id == handle.transfer_id
    repeat = make_intent("+1 202-555-0100", call_id=intent.call_id, **SAID)
    assert publisher.submit(repeat).is_repeat
    with pytest.raises(IdempotencyConflict):
        publisher.submit(make_intent("support", idempotency_key="order-7"))
    assert cluster.sandbox.post_count(intent.call_id) == 1
    answer = ask("replay", handle.transfer_id, "--reason", "r", "--json")
    assert "was erased" in refusal(answer)


@pytest.mark.parametrize("state", ["waiting", "claimed", "sending", "unknown"])
def test_what_is_open_or_unknown_is_refused_and_nothing_is_changed(ask, bench, state):
    call_id = str(uuid.uuid4())
    transfer_id = bench.accept(call_id=call_id).transfer_id
    if state != "waiting":
        claim = bench.claim(transfer_id)
        if state != "claimed":
            bench.begin(claim)
            if state == "unknown":
                bench.lose_answer(claim)
    bench.write_lines()
    before = dump(bench.client)
    said = refusal(ask("erase", call_id, "--reason", "r", "--json"))
    assert transfer_id in said
    assert ("resolve" if state == "unknown" else "cancel") in said
    assert dump(bench.client) == before


def test_an_earlier_one_that_is_settled_waits_for_the_open_one_of_its_call(ask, bench):
    call_id = str(uuid.uuid4())
    claim = start(bench, call_id=call_id)
    bench.end(claim, State.FAILED, Reason.PLATFORM_UNREACHABLE)
    bench.accept(call_id=call_id, destination="sales")
    bench.write_lines()
    assert "has not ended" in refusal(ask("erase", claim.transfer_id, "--reason", "r", "--json"))


@pytest.mark.parametrize("is_read", [True, False], ids=["held by a worker", "read by nobody"])
def test_what_is_not_written_yet_is_written_first(ask, bench, is_read):
    transfer_id = bench.accept().transfer_id
    bench.cancel(transfer_id)
    bench.client.xgroup_create(bench.keys.audit, GROUP, id="0")
    if is_read:
        bench.client.xreadgroup(GROUP, "w", {bench.keys.audit: ">"})
    before = dump(bench.client)
    answer = ask("erase", transfer_id, "--reason", "r", "--wait", "0", "--json")
    assert "2 of its audit lines are not written yet" in refusal(answer)
    assert dump(bench.client) == before
    if is_read:
        bench.client.xack(bench.keys.audit, GROUP, *(entry_of(line["event_id"]) for line in bench.audit()))
    else:
        bench.write_lines()
    assert as_json(ask("erase", transfer_id, "--reason", "r", "--wait", "0", "--json"))["audit_lines"] == 2


def test_where_no_worker_ever_wrote_a_line_nothing_is_erased(ask, bench):
    transfer_id = bench.accept().transfer_id
    bench.cancel(transfer_id)
    answer = ask("erase", transfer_id, "--reason", "r", "--wait", "0", "--json")
    assert "not written yet" in refusal(answer)


def test_a_message_that_is_left_of_it_goes_and_those_of_others_stay(ask, bench):
    transfer_id = send(ask, "support", "--no-wait", "--reason", f"Grace {WORD}")
    other = send(ask, "support", "--no-wait", "--reason", "Ada Lovelace")
    fetched = send(ask, "support", "--no-wait", "--reason", f"Grace {WORD}")
    element = bench.client.lpop("transfers")
    bench.client.hset(bench.keys.unacked, fetched, json.dumps([json.loads(element), "", "transfers"]))
    bench.client.zadd(bench.keys.unacked_index, {fetched: 1})
    for one in (transfer_id, fetched):
        bench.cancel(one)
        bench.write_lines()
        assert as_json(ask("erase", one, "--reason", "r", "--json"))["messages"] == 1
    assert bench.queued() == [other]
    assert not bench.client.exists(bench.keys.unacked, bench.keys.unacked_index)


def test_an_answer_that_comes_after_it_corrects_the_outcome_without_its_words(ask, bench):
    claim = disbelieve(bench)
    bench.write_lines()
    as_json(ask("erase", claim.transfer_id, "--reason", "r", "--json"))
    bench.end(claim, detail=f"of {WORD}", answer_json=json.dumps({"of": WORD}))
    assert bench.record(claim.transfer_id).state == State.SUBMITTED
    assert WORD not in dump(bench.client)


def test_a_409_still_knows_what_an_erased_attempt_has_proven(ask, bench):
    call_id = str(uuid.uuid4())
    first = start(bench, call_id=call_id)
    bench.end(first, State.REJECTED, Reason.CALL_NOT_FOUND, http_status=404, answer_json='{"of": "x"}')
    bench.write_lines()
    as_json(ask("erase", call_id, "--reason", "r", "--json"))
    second = start(bench, call_id=call_id)
    bench.end(second, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, http_status=409)
    assert bench.record(second.transfer_id).state == State.REJECTED


def test_only_a_whole_id_is_taken(ask, bench):
    transfer_id = bench.accept().transfer_id
    answer = ask("erase", transfer_id[:8], "--reason", "r")
    assert answer.exit_code == 2
    assert "can't be undone" in answer.stderr


def test_it_says_where_the_text_may_still_be(ask, bench):
    transfer_id = bench.accept().transfer_id
    bench.cancel(transfer_id)
    bench.write_lines()
    told = ask("erase", transfer_id, "--reason", "r").stdout
    assert "BGREWRITEAOF" in told
    assert "backups" in told


def test_an_id_is_found_in_each_spelling_and_in_base64():
    call_id = "5c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8"
    message = '{"body": "W1tdLCB7ImNhbGxfaWQiOiAiNWMxZjZhM2UtOGQyMC00YjdlLTlhNTEtMGU2NGI3ZDJjOWY4In1d"}'
    assert mentions(message, [call_id])
    assert mentions(message[:-3], [call_id])  # cut, as the quarantine keeps it
    assert mentions(call_id.upper(), [call_id])
    assert mentions("{" + call_id.replace("-", "") + "}", [call_id])
    assert not mentions(message, ["6c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8"])
