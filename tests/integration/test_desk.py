"""The on-call desk: each command on a real Redis, with transfers that real workers carried out."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import uuid

import pytest

from support import wait_until
from support.far_end import FarEnd, make_answer
from support.house import make_intent
from support.ledger_bench import LedgerBench
from transfer_tasks.ledger.desk_commands import DeskCommands
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_worker.monitoring.statistics import WorkerStatus
from transfer_worker.operations import platforms

pytestmark = pytest.mark.usefixtures("no_key_leaks")

COMMAND = [sys.executable, "-m", "transfer_worker"]
REGISTRY = """
[support]
description = "Technical support"
endpoints = ["+1 202-555-0100"]

[sales]
description = "Sales, which answer 503 for ever"
endpoints = ["+1 202-555-0155"]

[gone]
description = "Answers 404"
endpoints = ["+1 202-555-0104"]

[silent]
description = "Moves the call and loses the answer"
endpoints = ["+1 202-555-0162"]
"""


@pytest.fixture
def bench(house):
    """The steps of anybody, in the ledger of the house."""
    ledger = house.ledger()
    with ledger.client as client:
        yield LedgerBench(client)


@pytest.fixture
def worker(house, tmp_path):
    """A real worker that knows four destinations."""
    path = tmp_path / "registry.toml"
    path.write_text(REGISTRY)
    return house.start_worker(TRANSFER_DESTINATIONS_FILE=str(path))


def as_json(answer):
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def send(ask, to, *options, call_id=None):
    """Send one and return its id."""
    call_id = call_id or str(uuid.uuid4())
    answer = ask("send", "--call-id", call_id, "--to", to, "--json", *options)
    return json.loads(answer.stdout)["transfer_id"]


def audit_line(bench, event):
    (line,) = [line for line in bench.audit() if line["event"] == event]
    return line


def stop_with_ctrl_c(child):
    child.send_signal(signal.SIGINT)
    assert child.wait() == 130
    assert "Traceback" not in child.output()


# ---- status


def test_status_shows_on_one_screen_how_things_stand(ask, worker, bench):
    assert "Nothing to look at." in ask("status").stdout
    send(ask, "support")
    send(ask, "gone")
    send(ask, "silent")

    seen = as_json(ask("status", "--json"))

    assert (seen["waiting"], seen["in_flight"], seen["unknown"]) == (0, 0, 1)
    assert [window["minutes"] for window in seen["windows"]] == [1, 5, 60]
    for window in seen["windows"]:
        assert (window["outcomes"]["submitted"], window["outcomes"]["rejected"]) == (1, 1)
        assert window["reasons"] == {"call_not_found": 1, "answer_lost": 1}
        assert window["failing_destinations"] == {"gone": 1, "silent": 1}
        assert 0 < window["post_p50_ms"] <= window["post_p99_ms"]
    assert seen["platform"]["requests"] == 3
    assert set(seen["platform"]["shares"]) == {"ok", "denied", "silent"}
    (process,) = seen["workers"]
    assert process["is_alive"]
    assert process["platform"].startswith("127.0.0.1:")
    assert seen["redis"]["is_durable"]

    text = ask("status").stdout
    for said in ("1 unknown, the oldest for", "call-transfer list --state unknown", "answer_lost", "p99"):
        assert said in text
    assert text.count("\n") < 40


def test_status_names_what_somebody_should_look_at(ask, bench):
    assert [concern["command"] for concern in as_json(ask("status", "--json"))["concerns"]] == [
        "call-transfer doctor"
    ]
    accepted = bench.accept()
    bench.client.zincrby(bench.keys.waiting, -7000, accepted.transfer_id)
    bench.client.hincrby(bench.keys.statistics, "double_posts", 2)

    seen = as_json(ask("status", "--json"))

    texts = " ".join(concern["text"] for concern in seen["concerns"])
    assert "No worker gives a sign of life (there was never one)" in texts
    assert "1 waiting, the oldest for 7" in texts
    assert "Calls perhaps moved twice since the beginning: 2" in texts
    assert seen["possibly_moved_twice"] == 2


def test_a_withdrawal_by_the_session_is_no_failure(ask, bench):
    bench.beat()
    bench.cancel(bench.accept().transfer_id)

    assert as_json(ask("status", "--json"))["concerns"] == []


def test_status_watches_on_through_an_outage_of_redis(spawn, private_redis, tmp_path):
    watch = spawn(
        [*COMMAND, "status", "--watch", "--every", "0.1", "--json"],
        env={"TRANSFER_REDIS_URL": private_redis.url},
        cwd=tmp_path,
    )
    watch.wait_for_output(r'^\{"at"')
    private_redis.kill()
    watch.wait_for_output(r'^\{"error"')
    private_redis.restart()
    seen = watch.output().count('{"at"')
    wait_until(lambda: watch.output().count('{"at"') > seen)
    stop_with_ctrl_c(watch)


@pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
def test_the_screen_has_colours_on_terminals_that_want_them(redis_url, tmp_path, no_color, is_coloured):
    ours, theirs = pty.openpty()
    env = {"TRANSFER_REDIS_URL": redis_url, "TERM": "xterm-256color", "NO_COLOR": no_color}
    subprocess.run([*COMMAND, "status"], stdout=theirs, env={**os.environ, **env}, cwd=tmp_path, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "No worker gives a sign of life" in shown
    assert ("\x1b[1;31m" in shown) is is_coloured


# ---- list


def test_list_finds_transfers_by_state_reason_destination_and_time(ask, worker, bench):
    taken, gone = send(ask, "support"), send(ask, "gone")
    waiting = bench.accept(destination="later", queue="").transfer_id

    def listed(*options):
        found = as_json(ask("list", "--json", *options))["transfers"]
        return [transfer["transfer_id"] for transfer in found]

    assert listed() == [waiting, gone, taken]
    assert listed("--state", "submitted") == [taken]
    assert listed("--state", "submitted", "--state", "waiting") == [waiting, taken]
    assert listed("--destination", "gone", "--since", "90s") == [gone]
    assert listed("--reason", "call_not_found") == [gone]
    assert listed("--limit", "1") == [waiting]
    text = ask("list").stdout
    assert "rejected (call_not_found)" in text
    assert gone in text
    assert ask("list", "--state", "expired").stdout == "None.\n"


def test_a_span_that_cannot_be_read_is_named_with_its_mend(ask):
    answer = ask("list", "--since", "yesterday", "--json")
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["error"]["field"] == "--since"
    assert "90s, 5m, 1h or 7d" in answer.stderr


# ---- tail


def test_tail_shows_the_last_lines_readable_and_masked(ask, worker, bench):
    call_id = str(uuid.uuid4())
    asked = ("--requested-by", "ops 202-555-0188", "--reason", "call back 202-555-0177")
    send(ask, "support", *asked, call_id=call_id)
    send(ask, "gone")

    text = ask("tail", "--no-follow").stdout
    lines = ask("tail", "--no-follow", "--call", call_id.upper(), "--json", "-n", "100").stdout.splitlines()

    assert "rejected reason=call_not_found" in text
    assert "requested_by=ops *******88" in text
    events = [json.loads(line) for line in lines]
    assert [line["event"] for line in events] == [
        "transfer.accepted",
        "transfer.claimed",
        "transfer.attempt_started",
        "transfer.finished",
    ]
    assert {line["call_id"] for line in events} == {call_id}
    assert ask("tail", "--no-follow", "-n", "1").stdout == text.splitlines(keepends=True)[-1]


def test_tail_finds_the_lines_of_one_call_among_many(ask, bench):
    wanted = str(uuid.uuid4())
    bench.accept(call_id=wanted)
    for _ in range(450):  # more than two batches
        bench.accept(queue="")
    (line,) = ask("tail", "--no-follow", "--call", wanted, "--json").stdout.splitlines()
    assert json.loads(line)["call_id"] == wanted


def test_tail_follows_one_call_through_an_outage_of_redis(spawn, private_redis, tmp_path, monkeypatch):
    call_id = str(uuid.uuid4())
    monkeypatch.setenv("TRANSFER_REDIS_URL", private_redis.url)
    tail = spawn([*COMMAND, "tail", "--call", call_id, "--json"], cwd=tmp_path, name="tail")

    def follow_one(event):
        """Send until it is heard: before the first answer, nobody knows that it listens."""
        wait_until(lambda: event in tail.output(), message=tail.output)

    send_one = [*COMMAND, "send", "--to", "support", "--no-wait"]
    subprocess.run([*send_one, "--call-id", str(uuid.uuid4())], check=True, cwd=tmp_path)
    subprocess.run([*send_one, "--call-id", call_id], check=True, cwd=tmp_path)
    follow_one("transfer.accepted")
    private_redis.kill()
    follow_one("Redis is away")
    private_redis.restart()
    subprocess.run([*send_one, "--call-id", call_id], check=True, cwd=tmp_path)
    follow_one("transfer.repeated")
    seen = [json.loads(line) for line in tail.output().splitlines() if line.startswith("{")]
    assert {line["call_id"] for line in seen} == {call_id}
    stop_with_ctrl_c(tail)


def test_tail_refuses_what_is_no_call(ask):
    answer = ask("tail", "--call", "+1 202-555-0143")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("call-transfer: --call: is no UUID")


# ---- why


def test_why_says_the_reason_what_it_means_and_what_to_do_next(ask, worker):
    for to, reason, command in (
        ("gone", Reason.CALL_NOT_FOUND, "call-transfer show"),
        ("silent", Reason.ANSWER_LOST, "--not-transferred --reason"),
        ("nowhere", Reason.UNKNOWN_DESTINATION, "call-transfer show"),
    ):
        transfer_id = send(ask, to)

        told = as_json(ask("why", transfer_id, "--json"))
        text = ask("why", transfer_id).stdout

        assert (told["reason"], told["meaning"]) == (reason, GUIDE[reason].meaning)
        for said in (reason, GUIDE[reason].meaning, GUIDE[reason].next_step, command, transfer_id):
            assert said in text


def test_why_of_an_open_transfer_says_who_has_to_act(ask, bench):
    transfer_id = bench.accept().transfer_id
    assert "no worker runs" in ask("why", transfer_id).stdout
    bench.beat()
    assert "no worker has claimed it yet" in ask("why", transfer_id).stdout
    claim = bench.claim(transfer_id)
    assert "claimed it" in ask("why", transfer_id).stdout
    bench.begin(claim)
    text = ask("why", transfer_id).stdout
    assert "its answer is awaited" in text
    assert "cancel" not in text


# ---- replay


def test_a_replay_is_a_new_hop_of_the_same_transfer_with_the_operators_name_on_it(ask, worker, house, bench):
    call_id = str(uuid.uuid4())
    house.sandbox.desk.script(call_id, ["404"])
    first = send(ask, "support", "--reason", "the invoice", "--idempotency-key", "mine", call_id=call_id)
    assert house.sandbox.carried_out_count(call_id) == 0

    answer = ask("replay", first, "--reason", "it was a wrong id", "--for-seconds", "20", "--json")

    document = as_json(answer)
    assert (document["hop"], document["replay_of"], document["call_id"]) == (2, first, call_id)
    assert document["outcome"]["state"] == "submitted"
    assert house.sandbox.carried_out_count(call_id) == 1
    # Another key than the refused request's, so that the platform does not take it for that one.
    assert [r["idempotency_key"] for r in house.sandbox.requests(call_id)] == ["mine", f"{call_id}:2"]
    shown = as_json(ask("show", call_id, "--json"))["transfers"][1]
    assert shown["asked"]["requested_by"] == f"ana, replay of {first}: it was a wrong id"
    assert shown["asked"]["reason"] == "the invoice"
    accepted = bench.audit(document["transfer_id"])[0]
    assert (accepted["operator"], accepted["replay_of"], accepted["detail"]) == (
        "ana",
        first,
        "it was a wrong id",
    )


def test_a_replay_within_the_old_deadline_keeps_it(ask, worker, bench, house):
    call_id = str(uuid.uuid4())
    house.sandbox.desk.script(call_id, ["404"])
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


def test_a_transfer_whose_call_was_moved_by_a_later_one_is_not_replayed(ask, worker, house):
    call_id = str(uuid.uuid4())
    first = send(ask, "gone", call_id=call_id)
    send(ask, "support", call_id=call_id)

    answer = ask("replay", first, "--reason", "r", "--for-seconds", "9")

    assert answer.exit_code == 1
    assert "is submitted" in answer.stderr
    assert house.sandbox.carried_out_count(call_id) == 1


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
        bench.commands.beat(
            worker="w1", lease_ms=60_000, about_json=json.dumps({"platform": "rest.piopiy.com"})
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
    worker = WorkerStatus(worker="w", is_alive=is_alive, beat_age_seconds=0, about={"platform": platform})
    assert platforms.find_real_platforms([worker]) == real


# ---- resolve


def test_an_unknown_is_settled_by_evidence_and_the_record_says_by_whom(ask, worker, bench):
    lost, other = send(ask, "silent"), send(ask, "silent")

    as_json(ask("resolve", lost, "--transferred", "--reason", "it is in the call log", "--json"))
    told = ask("resolve", other, "--not-transferred", "--reason", "the caller is still here", "--as", "bo")

    assert told.exit_code == 0
    assert told.stdout.startswith("failed (not_transferred")
    record = bench.record(lost)
    assert (record.state, record.source, record.detail) == (
        "submitted",
        "operator",
        "ana: it is in the call log",
    )
    line = bench.audit(other)[-1]
    assert (line["event"], line["detail"]) == ("transfer.resolved", "bo: the caller is still here")
    assert as_json(ask("status", "--json"))["unknown"] == 0
    # What was proven not to have moved the call may be asked for again.
    assert ask("replay", other, "--reason", "r", "--for-seconds", "9", "--no-wait").exit_code == 0


def test_what_is_not_unknown_cannot_be_settled(ask, bench):
    transfer_id = bench.accept().transfer_id
    answer = ask("resolve", transfer_id, "--transferred", "--reason", "r")
    assert answer.exit_code == 1
    assert "is waiting, and only an unknown can be settled" in answer.stderr
    assert ask("resolve", transfer_id, "--reason", "r").exit_code == 2


# ---- cancel


def test_what_has_not_been_sent_is_withdrawn(ask, bench):
    transfer_id = bench.accept().transfer_id
    answer = ask("cancel", transfer_id, "--reason", "the caller hung up")
    assert answer.exit_code == 0
    assert answer.stdout.startswith("cancelled (cancelled_by_operator")
    assert bench.audit(transfer_id)[-1]["detail"] == "ana: the caller hung up"


def test_what_is_being_sent_or_has_ended_is_too_late_to_cancel(ask, bench):
    claim = bench.begin_first(str(uuid.uuid4()))
    answer = ask("cancel", claim.transfer_id, "--reason", "r")
    assert (answer.exit_code, "is being sent" in answer.stderr) == (1, True)
    bench.end(claim)
    answer = ask("cancel", claim.transfer_id, "--reason", "r", "--json")
    assert answer.exit_code == 1
    assert "has ended submitted" in json.loads(answer.stdout)["error"]["message"]


# ---- pause and resume


def test_a_paused_destination_refuses_at_once_and_others_go_on(ask, worker, house, bench, publisher):
    before = bench.accept(queue="").transfer_id
    paused = as_json(ask("pause", "support", "--reason", "their line is down", "--json"))
    assert paused == {"destination": "support", "ended_transfers": 1, "paused": ["support"]}

    handle = publisher.submit(make_intent("support"))
    outcome = handle.outcome(1)

    assert (outcome.state, outcome.reason) == (State.REJECTED, Reason.DESTINATION_PAUSED)
    assert (outcome.source, outcome.detail) == ("operator", "paused by ana: their line is down")
    assert outcome.guide.say
    assert bench.record(before).reason is Reason.DESTINATION_PAUSED
    assert bench.events(handle.transfer_id) == ["accepted", "finished"]
    assert bench.queued() == []
    assert house.sandbox.post_count() == 0
    assert bench.record(send(ask, "gone")).reason is Reason.CALL_NOT_FOUND

    text = ask("status").stdout
    assert "Paused by ana: support: their line is down. See: call-transfer resume support" in text
    line = audit_line(bench, "destination.paused")
    assert (line["destination"], line["operator"], line["detail"]) == ("support", "ana", "their line is down")
    assert "paused" in ask("tail", "--no-follow", "-n", "100").stdout

    assert ask("resume", "support", "--reason", "it is up").stdout == "Resumed: support. Nothing is paused.\n"
    assert audit_line(bench, "destination.resumed")["operator"] == "ana"
    assert publisher.submit(make_intent("support")).outcome(5).state is State.SUBMITTED


def test_all_stops_everything_and_is_taken_back_alone(ask, bench):
    ask("pause", "sales", "--reason", "holiday")
    ask("pause", "--all", "--reason", "fire")
    assert bench.accept(destination="support").state == "rejected"
    assert bench.accept(destination="endpoints").state == "rejected"
    assert bench.record(bench.accept(destination="sales").transfer_id).detail == "paused by ana: holiday"
    answer = ask("resume", "--all")
    assert answer.stdout == "Resumed: all destinations. Still paused: sales.\n"
    assert bench.accept(destination="support").state == "waiting"
    assert bench.accept(destination="sales").state == "rejected"


def test_between_two_attempts_a_pause_stops_the_next_one(ask, worker, house, bench):
    call_id = str(uuid.uuid4())
    house.sandbox.desk.script(call_id, ["503:30"], then="ok")  # asks for a wait of 30 s
    transfer_id = send(ask, "support", "--no-wait", "--expires-in", "60", call_id=call_id)
    wait_until(lambda: "retry_scheduled" in bench.events(transfer_id))

    ask("pause", "support", "--reason", "enough")

    record = bench.record(transfer_id)
    assert (record.state, record.reason, record.attempts) == ("rejected", Reason.DESTINATION_PAUSED, 1)
    assert house.sandbox.post_count(call_id) == 1


@pytest.mark.parametrize("step", ["claim", "begin", "begin_again"])
def test_what_the_pause_itself_did_not_reach_ends_at_its_next_step(bench, step):
    """A pause ends a bounded number of transfers; the steps of all others look for themselves."""
    transfer_id = bench.accept().transfer_id
    claim = bench.claim(transfer_id) if step != "claim" else None
    if step == "begin_again":
        bench.begin(claim)
        bench.retry(claim)
    desk = DeskCommands(namespace="transfer", retention_seconds=1000)
    assert bench.run(desk.pause("support", operator="ana", reason="r", limit=0)) == 0

    seen = (
        bench.begin(claim, attempt=2 if step == "begin_again" else 1) if claim else bench.claim(transfer_id)
    )

    assert seen.outcome.reason is Reason.DESTINATION_PAUSED
    assert bench.events(transfer_id)[-1] == "finished"
    assert not bench.index("waiting") | bench.index("in_flight")


def test_a_request_that_is_out_is_not_called_back(ask, bench):
    claim = bench.begin_first(str(uuid.uuid4()))
    ask("pause", "--all", "--reason", "r")
    assert bench.record(claim.transfer_id).state == "sending"
    assert bench.end(claim).outcome.state is State.SUBMITTED


def test_no_pause_ends_by_itself_while_a_worker_beats(ask, bench):
    ask("pause", "support", "--reason", "r")
    bench.client.expire(bench.keys.paused, 5)
    bench.beat()
    assert bench.client.ttl(bench.keys.paused) > 900


def test_a_session_that_asks_by_plain_celery_is_refused_as_well(bench):
    desk = DeskCommands(namespace="transfer", retention_seconds=1000)
    bench.run(desk.pause("support", operator="ana", reason="r", limit=0))
    transfer_id = bench.accept(queue="").transfer_id
    assert bench.claim(transfer_id).outcome.reason is Reason.DESTINATION_PAUSED


@pytest.mark.parametrize("arguments", [[], ["support", "--all"], ["+1 202-555-0143"], ["*"]])
def test_what_to_pause_is_said_in_one_way(ask, arguments):
    answer = ask("pause", *arguments, "--reason", "r", "--json")
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["error"]["field"] == "DESTINATION"


def test_what_was_not_paused_is_not_resumed(ask):
    answer = ask("resume", "support")
    assert (answer.exit_code, "support was not paused" in answer.stderr) == (1, True)


# ---- quarantine


def test_poison_is_listed_shown_and_dropped_with_the_operators_name(ask, bench):
    for number in (1, 2):
        bench.run(
            bench.commands.quarantine(
                transfer_id="", why=f"not JSON ({number})", element="call +1 202-555-0143 {", size_bytes=23,
                max_entries=10,
            )
        )  # fmt: skip
    newest, oldest = as_json(ask("quarantine", "list", "--json"))["quarantine"]
    assert (newest["why"], oldest["why"]) == ("not JSON (2)", "not JSON (1)")
    assert oldest["id"] in ask("quarantine", "list").stdout
    shown = as_json(ask("quarantine", "show", oldest["id"], "--json"))
    assert shown["element"] == "call +1*******43 {"
    assert "call +1*******43 {" in ask("quarantine", "show", oldest["id"]).stdout

    assert ask("quarantine", "drop", oldest["id"], "--reason", "a test").stdout == "1 dropped.\n"

    line = audit_line(bench, "quarantine.dropped")
    assert (line["operator"], line["why"], line["detail"]) == ("ana", "not JSON (1)", "a test")
    assert [p["id"] for p in as_json(ask("quarantine", "list", "--json"))["quarantine"]] == [newest["id"]]
    assert ask("quarantine", "show", oldest["id"]).exit_code == 1
    assert ask("quarantine", "drop").exit_code == 2
    assert as_json(ask("quarantine", "drop", "--all", "--json")) == {"dropped": 1}
    assert ask("quarantine", "list").stdout == "None.\n"


# ---- doctor


def examine(ask):
    answer = ask("doctor", "--json")
    return answer.exit_code, {f["check"]: f for f in json.loads(answer.stdout)["findings"]}


@pytest.fixture
def settings(house, ask, monkeypatch):
    """The worker's settings in our environment."""
    for name, value in house.worker_environment().items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.startswith("FLOWER_")]:
        monkeypatch.delenv(name)
    return monkeypatch.setenv


def test_doctor_asks_a_sandbox_whether_it_takes_the_token(ask, settings, worker):
    settings("FLOWER_BASIC_AUTH", "on-call:secret")
    settings("HTTP_PROXY", "http://127.0.0.1:1")  # the workers use no proxy of the environment
    exit_code, found = examine(ask)
    assert exit_code == 0
    assert {name for name, finding in found.items() if finding["verdict"] != "ok"} == {"registry"}
    settings("PIOPIY_TOKEN", "another")
    exit_code, found = examine(ask)
    assert exit_code == 1
    assert "refuses PIOPIY_TOKEN" in found["token"]["seen"]


def test_doctor_never_asks_the_platform_and_says_what_the_workers_heard(ask, settings, bench):
    settings("PIOPIY_API_URL", "https://rest.piopiy.com/v3")
    assert examine(ask)[1]["token"]["verdict"] == "not checked"
    bench.end(bench.begin_first(str(uuid.uuid4())))
    assert "accepted 1 times in the last hour" in examine(ask)[1]["token"]["seen"]
    bench.end(bench.begin_first(str(uuid.uuid4())), State.REJECTED, Reason.UNAUTHORIZED, http_status=401)
    exit_code, found = examine(ask)
    assert (exit_code, found["token"]["verdict"]) == (1, "problem")
    assert "refused 1 times in the last 5 minutes" in found["token"]["seen"]


def test_doctor_sends_no_request_through_a_tunnel_that_only_looks_like_a_sandbox(ask, settings):
    with FarEnd(lambda connection, _: connection.sendall(make_answer(404, b"{}"))) as tunnel:
        settings("PIOPIY_API_URL", tunnel.url)
        assert examine(ask)[1]["token"]["verdict"] == "not checked"
        assert [request.line for request in tunnel.requests] == ["GET /_sandbox/health HTTP/1.1"]


def test_doctor_says_whether_flower_is_safe(ask, settings):
    assert examine(ask)[1]["flower"]["verdict"] == "not checked"
    settings("FLOWER_BASIC_AUTH", "on-call:secret")
    assert examine(ask)[1]["flower"]["verdict"] == "ok"
    settings("FLOWER_ADDRESS", "0.0.0.0")
    settings("FLOWER_READ_ONLY", "false")
    seen = examine(ask)[1]["flower"]
    assert seen["verdict"] == "warning"
    assert seen["seen"] == "it listens on 0.0.0.0 and lets everybody who logs in stop workers"
    assert "secret" not in ask("doctor").output


def test_doctor_compares_the_workers_version_with_its_own(ask, settings, bench):
    assert "none gives a sign of life" in examine(ask)[1]["workers"]["seen"]
    bench.run(bench.commands.beat(worker="w1", lease_ms=60_000, about_json='{"version": "0.0.1"}'))
    seen = examine(ask)[1]["workers"]
    assert (seen["verdict"], "some of version 0.0.1" in seen["seen"]) == ("warning", True)


# ---- all of them


NOBODY = "5c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8"
"""Not on record. Fixed, so that each process of a test run has the same tests."""

LOOKING = [["status"], ["list"], ["tail"], ["why", NOBODY], ["quarantine", "list"]]
ACTING = [
    ["replay", NOBODY, "--reason", "r"],
    ["resolve", NOBODY, "--transferred", "--reason", "r"],
    ["cancel", NOBODY, "--reason", "r"],
    ["pause", "--all", "--reason", "r"],
    ["resume", "--all"],
    ["quarantine", "drop", "--all"],
]


@pytest.mark.parametrize("command", LOOKING + ACTING, ids=" ".join)
def test_a_redis_that_is_away_is_exit_code_3(ask, monkeypatch, command):
    monkeypatch.setenv("TRANSFER_REDIS_URL", "redis://127.0.0.1:1/0")
    answer = ask(*command)
    assert answer.exit_code == 3
    assert answer.stderr.endswith("See: call-transfer doctor\n")


@pytest.mark.parametrize("command", ACTING, ids=" ".join)
def test_nobody_acts_without_a_name(ask, bench, monkeypatch, command):
    monkeypatch.delenv("USER")
    monkeypatch.delenv("LOGNAME", raising=False)
    answer = ask(*command)
    assert answer.exit_code == 2
    assert "--as" in answer.stderr
    assert ask(*command, "--as", "a\nb").exit_code == 2
    assert bench.client.dbsize() == 0


@pytest.mark.parametrize("command", ACTING[:3], ids=" ".join)
@pytest.mark.parametrize("wanted", [NOBODY, "+1 202-555-0143"])
def test_what_is_not_on_record_is_exit_code_1(ask, command, wanted):
    answer = ask(command[0], wanted, *command[2:], "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["error"]["kind"] == "TransferNotFound"


@pytest.mark.parametrize("reason", ["", "  ", "x" * 101, "a\nb"])
def test_a_reason_is_one_line_that_says_something(ask, bench, reason):
    answer = ask("pause", "--all", "--reason", reason)
    assert (answer.exit_code, "--reason" in answer.stderr) == (2, True)
    assert not bench.client.exists(bench.keys.paused)
