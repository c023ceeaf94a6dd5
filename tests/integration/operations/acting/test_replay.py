"""`replay`: a new transfer of the same call, where that is safe, and somebody is asked first."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import uuid

import pytest

from support.operating import COMMAND, as_json, send
from transfer_tasks.outcome import Reason, State
from transfer_worker.monitoring.present import WorkerStatus
from transfer_worker.operations.acting.replay import find_real_platforms

pytestmark = pytest.mark.usefixtures("no_key_leaks")


def test_a_replay_is_a_new_hop_of_the_same_transfer_with_the_operators_name_on_it(
    ask, worker, cluster, bench
):
    call_id = str(uuid.uuid4())
    cluster.sandbox.controls.script(call_id, ["404"])
    first = send(ask, "support", "--reason", "the invoice", "--idempotency-key", "mine", call_id=call_id)
    assert cluster.sandbox.carried_out_count(call_id) == 0

    answer = ask("replay", first, "--reason", "it was a wrong id", "--for-seconds", "20", "--json")

    document = as_json(answer)
    assert (document["hop"], document["replay_of"], document["call_id"]) == (2, first, call_id)
    assert document["outcome"]["state"] == "submitted"
    assert cluster.sandbox.carried_out_count(call_id) == 1
    # Another key than the refused request's, so that the platform does not take it for that one.
    assert [r["idempotency_key"] for r in cluster.sandbox.requests(call_id)] == ["mine", f"{call_id}:2"]
    shown = as_json(ask("show", call_id, "--json"))["transfers"][1]
    assert shown["asked"]["requested_by"] == f"ana, replay of {first}: it was a wrong id"
    assert shown["asked"]["reason"] == "the invoice"
    accepted = bench.audit(document["transfer_id"])[0]
    assert (accepted["operator"], accepted["replay_of"], accepted["detail"]) == (
        "ana",
        first,
        "it was a wrong id",
    )


def test_a_replay_within_the_old_deadline_keeps_it(ask, worker, bench, cluster):
    call_id = str(uuid.uuid4())
    cluster.sandbox.controls.script(call_id, ["404"])
    first = send(ask, "support", "--expires-in", "100", call_id=call_id)

    document = as_json(ask("replay", first, "--reason", "r", "--json"))

    old, new = bench.record(first), bench.record(document["transfer_id"])
    assert abs(old.expires_at_ms - new.expires_at_ms) < 50


def test_a_replay_is_refused_where_the_call_has_been_moved_or_may_have_been(ask, bench, worker):
    open_one = bench.accept(queue="").transfer_id
    lost, taken = send(ask, "silent"), send(ask, "support")
    for transfer_id, state in ((open_one, "waiting"), (lost, "unknown"), (taken, "submitted")):
        answer = ask("replay", transfer_id, "--reason", "r", "--for-seconds", "9", "--yes", "--json")
        assert answer.exit_code == 1, answer.output
        assert f"is {state}" in json.loads(answer.stdout)["error"]["message"]


def test_a_transfer_whose_call_was_moved_by_a_later_one_is_not_replayed(ask, worker, cluster):
    call_id = str(uuid.uuid4())
    first = send(ask, "gone", call_id=call_id)
    send(ask, "support", call_id=call_id)

    answer = ask("replay", first, "--reason", "r", "--for-seconds", "9")

    assert answer.exit_code == 1
    assert "is submitted" in answer.stderr
    assert cluster.sandbox.carried_out_count(call_id) == 1


def test_a_replay_that_another_transfer_overtakes_is_refused_by_the_ledger(bench):
    """Between our look and our step, somebody else may ask: only the step itself can know."""
    call_id = str(uuid.uuid4())
    first = bench.end(bench.begin_first(call_id), State.REJECTED, Reason.CALL_NOT_FOUND).outcome
    bench.end(bench.begin_first(call_id, destination="sales"))

    seen = bench.accept(call_id=call_id, after=first.transfer_id)

    assert (seen.verdict, seen.state) == ("overtaken", "submitted")
    assert len(bench.ledger.read_call(call_id)) == 2
    assert bench.audit()[-1]["event"] == "transfer.refused"


def test_an_ended_deadline_has_to_be_set_anew(ask, bench):
    transfer_id = send(ask, "support", "--expires-in", "1")
    answer = ask("replay", transfer_id, "--reason", "r", "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["error"]["field"] == "--for-seconds"
    assert len(bench.queued()) == 1


def test_before_a_real_call_is_moved_somebody_is_asked(ask, bench):
    transfer_id = send(ask, "support", "--expires-in", "1")
    bench.client.delete(bench.queue)
    bench.run(
        bench.commands.heartbeat(
            worker="w1",
            lease_ms=60_000,
            about_json=json.dumps({"platform": "rest.piopiy.com"}),
            queue="transfers",
        )
    )
    arguments = ["replay", transfer_id, "--reason", "r", "--for-seconds", "9", "--no-wait"]
    answer = ask(*arguments)
    assert answer.exit_code == 2
    assert "--yes: this may move a real call (platform: rest.piopiy.com)" in answer.stderr
    assert bench.queued() == []
    assert ask(*arguments, "--yes").exit_code == 0
    assert len(bench.queued()) == 1


def test_at_a_terminal_the_question_names_the_call_and_no_is_the_default(ask, bench, redis_url, tmp_path):
    transfer_id = send(ask, "support", "--expires-in", "1")
    for reply, exit_code, hops in ((b"\n", 1, 1), (b"y\n", 0, 2)):
        ours, theirs = pty.openpty()
        os.write(ours, reply)
        done = subprocess.run(
            [*COMMAND, "replay", transfer_id, "--reason", "r", "--for-seconds", "9", "--no-wait"],
            stdin=theirs, capture_output=True, text=True, cwd=tmp_path,
            env={**os.environ, "TRANSFER_REDIS_URL": redis_url, "USER": "ana"},
        )  # fmt: skip
        os.close(theirs)
        os.close(ours)
        call_id = bench.record(transfer_id).call_id
        assert f"Move call {call_id} to support? The platform is unknown" in done.stderr
        assert done.returncode == exit_code, done.stderr
        assert len(bench.ledger.read_call(call_id)) == hops


@pytest.mark.parametrize(
    ("platform", "is_alive", "real"),
    [
        ("127.0.0.1:8900", True, []),
        ("localhost:8900", True, []),
        ("[::1]:8900", True, []),
        ("rest.piopiy.com", True, ["rest.piopiy.com"]),
        ("sandbox:8900", True, ["sandbox:8900"]),
        ("", True, ["unknown"]),
        ("127.0.0.1:8900", False, ["unknown"]),
    ],
)
def test_only_a_stand_in_on_the_workers_own_machine_is_surely_not_real(platform, is_alive, real):
    worker = WorkerStatus(
        worker="w", is_alive=is_alive, heartbeat_age_seconds=0, about={"platform": platform}
    )
    assert find_real_platforms([worker]) == real
