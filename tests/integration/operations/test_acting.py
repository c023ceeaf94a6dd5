"""Resolve, cancel, pause and resume, quarantine: what an operator does is on record with a name."""

from __future__ import annotations

import json
import uuid

import pytest

from support import wait_until
from support.cluster import make_intent
from support.ledger_bench import move_twice
from support.operating import as_json, send
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.outcome import Reason, State

REGISTRY = """
[sales]
description = "Sales"
endpoints = ["+1 202-555-0155"]
"""

pytestmark = pytest.mark.usefixtures("no_key_leaks")


def audit_line(bench, event):
    (line,) = [line for line in bench.audit() if line["event"] == event]
    return line


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


def test_a_paused_destination_refuses_at_once_and_others_go_on(ask, worker, cluster, bench, publisher):
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
    assert cluster.sandbox.post_count() == 0
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
    ask("pause", "sales", "--reason", "holiday", "--force")
    ask("pause", "--all", "--reason", "fire")
    assert bench.accept(destination="support").state == "rejected"
    assert bench.accept(destination="endpoints").state == "rejected"
    assert bench.record(bench.accept(destination="sales").transfer_id).detail == "paused by ana: holiday"
    answer = ask("resume", "--all")
    assert answer.stdout == "Resumed: all destinations. Still paused: sales.\n"
    assert bench.accept(destination="support").state == "waiting"
    assert bench.accept(destination="sales").state == "rejected"


def test_between_two_attempts_a_pause_stops_the_next_one(ask, worker, cluster, bench):
    call_id = str(uuid.uuid4())
    cluster.sandbox.controls.script(call_id, ["503:30"], then="ok")  # asks for a wait of 30 s
    transfer_id = send(ask, "support", "--no-wait", "--expires-in", "60", call_id=call_id)
    wait_until(lambda: "retry_scheduled" in bench.events(transfer_id))

    ask("pause", "support", "--reason", "enough")

    record = bench.record(transfer_id)
    assert (record.state, record.reason, record.attempts) == ("rejected", Reason.DESTINATION_PAUSED, 1)
    assert cluster.sandbox.post_count(call_id) == 1


@pytest.mark.parametrize("step", ["claim", "begin", "begin_again"])
def test_what_the_pause_itself_did_not_reach_ends_at_its_next_step(bench, step):
    """A pause ends a bounded number of transfers; the steps of all others look for themselves."""
    transfer_id = bench.accept().transfer_id
    claim = bench.claim(transfer_id) if step != "claim" else None
    if step == "begin_again":
        bench.begin(claim)
        bench.retry(claim)
    commands = OperatorCommands(namespace="transfer", retention_seconds=1000)
    assert bench.run(commands.pause("support", operator="ana", reason="r", limit=0)) == 0

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
    ask("pause", "support", "--reason", "r", "--force")
    bench.client.expire(bench.keys.paused, 5)
    bench.heartbeat()
    assert bench.client.ttl(bench.keys.paused) > 900


def test_a_session_that_asks_by_plain_celery_is_refused_as_well(bench):
    commands = OperatorCommands(namespace="transfer", retention_seconds=1000)
    bench.run(commands.pause("support", operator="ana", reason="r", limit=0))
    transfer_id = bench.accept(queue="").transfer_id
    assert bench.claim(transfer_id).outcome.reason is Reason.DESTINATION_PAUSED


def test_a_name_that_nothing_knows_is_refused_with_the_near_ones(ask, bench, tmp_path):
    (tmp_path / "destinations.toml").write_text(REGISTRY)
    bench.end(bench.begin_first(str(uuid.uuid4())))  # to "support", which the registry does not name
    strange = bench.begin_first(str(uuid.uuid4()), destination="slaes")
    bench.end(strange, State.REJECTED, Reason.DESTINATION_NOT_ALLOWED)

    def refused(name):
        answer = ask("pause", name, "--reason", "r", "--json")
        assert answer.exit_code == 2
        assert not bench.client.exists(bench.keys.paused)
        return json.loads(answer.stdout)["error"]["message"]

    assert "Near it: sales. If it is meant, add --force." in refused("slaes")
    assert "Near it: support." in refused("suport")
    assert "Known: endpoints, pipeline, sales, support." in refused("x")
    assert ask("pause", "x", "--reason", "r", "--force").exit_code == 0
    assert ask("pause", "support", "--reason", "r").exit_code == 0
    (tmp_path / "destinations.toml").write_text("[")
    assert ask("pause", "pipeline", "--reason", "r").exit_code == 0
    assert as_json(ask("resume", "x", "--json"))["paused"] == ["support", "pipeline"]


@pytest.mark.parametrize("arguments", [[], ["support", "--all"], ["+1 202-555-0143"], ["*"]])
def test_what_to_pause_is_said_in_one_way(ask, arguments):
    answer = ask("pause", *arguments, "--reason", "r", "--json")
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["error"]["field"] == "DESTINATION"


def test_what_was_not_paused_is_not_resumed(ask):
    answer = ask("resume", "support")
    assert (answer.exit_code, "support was not paused" in answer.stderr) == (1, True)


@pytest.mark.parametrize("by", ["call", "beginning", "first transfer", "second transfer"])
def test_a_call_that_was_perhaps_moved_twice_is_acknowledged_with_a_name(ask, bench, by):
    bench.heartbeat()
    first, second = move_twice(bench)
    other = bench.record(move_twice(bench)[0]).call_id
    call_id = bench.record(first).call_id
    wanted = {
        "call": call_id,
        "beginning": first.replace("-", "")[:11],
        "first transfer": first.upper(),
        "second transfer": second,
    }[by]
    reason = "they spoke to both, +1 202-555-0143"

    told = as_json(ask("acknowledge", wanted, "--reason", reason, "--json"))

    assert told == {"call_id": call_id, "acknowledged": 1, "unacknowledged_calls": [other]}
    line = audit_line(bench, "call.acknowledged")
    assert (line["call_id"], line["transfer_id"], line["other_transfer_id"]) == (call_id, second, first)
    assert (line["operator"], line["detail"]) == ("ana", "they spoke to both, +1*******43")
    seen = as_json(ask("status", "--json"))
    assert [double["call_id"] for double in seen["unacknowledged_double_posts"]] == [other]
    assert seen["possibly_moved_twice"] == 2
    again = ask("acknowledge", wanted, "--reason", "r")
    assert (again.exit_code, f"What is: {other}." in again.stderr) == (1, True)
    told = ask("acknowledge", other, "--reason", "a drill", "--as", "bo")
    assert told.stdout == f"Acknowledged: call {other}. Nothing else is left.\n"
    assert not [c for c in as_json(ask("status", "--json"))["concerns"] if "twice" in c["text"]]
    assert "call.acknowledged" in ask("tail", "--no-follow").stdout


def test_a_call_whose_records_are_gone_can_still_be_acknowledged(ask, bench):
    first, second = move_twice(bench)
    call_id = bench.record(first).call_id
    bench.client.delete(bench.keys.record(first), bench.keys.record(second), bench.keys.call(call_id))
    assert ask("acknowledge", call_id, "--reason", "r").exit_code == 0
    assert not bench.client.exists(bench.keys.double_posts)


def test_what_was_not_moved_twice_is_not_acknowledged(ask, bench):
    answer = ask("acknowledge", "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60", "--reason", "r", "--json")
    assert (answer.exit_code, "No call is." in answer.stderr) == (1, True)
    assert json.loads(answer.stdout)["error"]["field"] == "CALL_OR_TRANSFER_ID"
    assert bench.client.dbsize() == 0


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


@pytest.mark.parametrize(
    "entry", ["junk", "[]", "{}", '{"at_ms": "x", "why": 7}', '{"why": "+1 202-555-0143"}']
)
def test_a_quarantine_entry_that_cannot_be_read_is_listed_shown_and_dropped(bench, ask, entry):
    bench.client.lpush(bench.keys.quarantine, entry)
    bench.client.expire(bench.keys.quarantine, 60)
    (listed,) = as_json(ask("quarantine", "list", "--json"))["quarantine"]
    assert listed["why"] == "an entry that can't be read"
    assert listed["id"] in ask("quarantine", "list").stdout
    assert "555-0143" not in ask("quarantine", "show", listed["id"]).stdout
    assert as_json(ask("quarantine", "drop", listed["id"], "--json")) == {"dropped": 1}
