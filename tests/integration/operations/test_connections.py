"""Whether anybody picked up, as operators see it, and as they say it."""

from __future__ import annotations

import json
import uuid

import pytest

from support.ledger_bench import finish, start
from support.operating import as_json
from transfer_tasks.outcome import State

pytestmark = pytest.mark.usefixtures("no_key_leaks")


@pytest.fixture
def call() -> str:
    return str(uuid.uuid4())


def test_show_says_who_said_it_and_what_contradicts_it(ask, bench, call):
    transfer_id = finish(bench, call_id=call)
    bench.report("ringing", call, "r-1")
    bench.report("not_connected", call, "r-1", reason="no_answer", caller_gone=True)
    bench.report("connected", call, "r-1", source="webhook")
    bench.report("connected", call, "r-of-others")

    told = as_json(ask("show", transfer_id, "--json"))
    (transfer,) = told["transfers"]
    connection = transfer["connection"]
    assert (connection["status"], connection["reason"], connection["source"], connection["caller_gone"]) == (
        "not_connected",
        "no_answer",
        "room",
        True,
    )
    assert [(other["status"], other["source"]) for other in connection["contradictions"]] == [
        ("connected", "webhook")
    ]
    assert transfer["request_id"] == "r-1"
    assert [report["request_id"] for report in told["unmatched_reports"]] == ["r-of-others"]

    screen = " ".join(ask("show", transfer_id).stdout.split())
    assert "not_connected (no_answer)" in screen
    assert "the caller is gone" in screen
    assert "which changes nothing" in screen
    assert "Nobody knows whose: connected" in screen


def test_list_finds_transfers_by_their_connection(ask, bench):
    calls = {status: str(uuid.uuid4()) for status in ("ringing", "connected", "not_connected", "none")}
    ids = {status: finish(bench, call_id=call) for status, call in calls.items()}
    for status, call in calls.items():
        if status != "none":
            bench.report(status, call)

    for status, transfer_id in ids.items():
        told = as_json(ask("list", "--connection", status, "--json"))
        assert [found["transfer_id"] for found in told["transfers"]] == [transfer_id]
    assert "connected" in ask("list").stdout
    assert ask("list", "--connection", "nonsense").exit_code == 2


@pytest.mark.parametrize("word", ["connected", "not-connected"])
def test_an_engineer_says_whether_anybody_picked_up_and_an_unknown_is_settled_by_it(ask, bench, call, word):
    claim = start(bench, call_id=call)
    bench.lose_answer(claim)

    answer = ask("resolve", claim.transfer_id, f"--{word}", "--reason", "the desk told me", "--json")

    status = word.replace("-", "_")
    assert as_json(answer) == {"transfer_id": claim.transfer_id, "state": "submitted", "connection": status}
    record = bench.record(claim.transfer_id)
    assert (record.state, record.source) == (State.SUBMITTED, "operator")
    (line,) = [line for line in bench.audit(claim.transfer_id) if line["event"] == f"transfer.{status}"]
    assert (line["source"], line["detail"]) == ("operator", "ana: the desk told me")
    # Said again it is the same.
    assert ask("resolve", claim.transfer_id, f"--{word}", "--reason", "r").stdout.startswith("submitted, ")


def test_a_word_against_the_platforms_is_kept_and_changes_nothing(ask, bench, call):
    transfer_id = finish(bench, call_id=call)
    bench.report("connected", call, "r-1")
    answer = ask("resolve", transfer_id, "--not-connected", "--reason", "r", "--json")
    assert answer.exit_code == 1
    assert "the first final stands" in json.loads(answer.stdout)["error"]["message"]
    connection = bench.record(transfer_id).connection
    assert (connection.status, len(connection.contradictions)) == ("connected", 1)


def test_what_was_never_at_the_platform_connected_nobody(ask, bench, call):
    waiting = bench.accept(call_id=call).transfer_id
    assert ask("resolve", waiting, "--connected", "--reason", "r").exit_code == 1
    bench.cancel(waiting)
    answer = ask("resolve", waiting, "--connected", "--reason", "r")
    assert (answer.exit_code, "is cancelled: it connects nobody" in answer.stderr) == (1, True)


def test_it_is_one_word_of_one_transfer(ask, bench, call):
    transfer_id = finish(bench, call_id=call)
    assert ask("resolve", transfer_id, "--reason", "r").exit_code == 2
    assert ask("resolve", transfer_id, "--connected", "--transferred", "--reason", "r").exit_code == 2
    assert ask("resolve", "--state", "unknown", "--connected", "--reason", "r", "--yes").exit_code == 2
