"""Many transfers at once: listed, asked about once, acted on one by one, each under a name."""

from __future__ import annotations

import json
import os
import uuid

import pytest
import typer

from support.ledger_bench import finish
from support.operating import COMMAND, as_json, send
from support.terminals import Terminal
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.outcome import Reason, State
from transfer_worker.cli.act import bulk
from transfer_worker.errors import OperationRefused
from transfer_worker.operations.acting.selection import select_transfers
from transfer_worker.operations.acting.turns import Turn
from transfer_worker.operations.listing import Wanted

pytestmark = pytest.mark.usefixtures("no_key_leaks")

MANY = 40


def lose(bench, count=1, *, destination="support"):
    return [
        finish(bench, state=State.UNKNOWN, reason=Reason.ANSWER_LOST, destination=destination)
        for _ in range(count)
    ]


def details(bench, event):
    return {line["transfer_id"]: line["detail"] for line in bench.audit() if line["event"] == event}


def test_many_unknowns_are_settled_by_one_command_and_each_keeps_the_name(ask, bench):
    lost, other = lose(bench, MANY), lose(bench, destination="sales")
    why = ("--reason", "none is in the call log", "--per-second", "100")

    answer = ask(
        "resolve", "--state", "unknown", "--destination", "support", "--since", "1h", "--not-transferred",
        *why, "--yes",
    )  # fmt: skip

    assert answer.exit_code == 0, answer.output
    *listed, told = answer.stdout.splitlines()
    assert told == "40 of 40 settled: 40 failed (not_transferred)."
    assert {line.split()[-1] for line in listed[1:]} == set(lost)
    assert details(bench, "transfer.resolved") == dict.fromkeys(lost, "ana: none is in the call log")
    assert bench.index("unknown") == set(other)
    assert ask("resolve", "--destination", "support", "--transferred", *why).stdout == "None.\n"


def test_somebody_is_asked_once_and_the_question_names_the_verdict(bench, redis_url, tmp_path):
    lost = lose(bench, 3)
    environment = {**os.environ, "TRANSFER_REDIS_URL": redis_url, "USER": "ana", "COLUMNS": "200"}
    command = [*COMMAND, "resolve", "--state", "unknown", "--reason", "r", "--per-second", "100"]

    def answer(verdict, key):
        with Terminal([*command, verdict], env=environment, cwd=tmp_path) as terminal:
            seen = terminal.wait_for("[y/N]")
            assert all(transfer_id in seen for transfer_id in lost)
            terminal.type(f"{key}\n")
            return terminal.wait()

    exit_code, shown = answer("--not-transferred", "")
    assert (exit_code, "Nothing is changed." in shown) == (1, True)
    assert "Settle these 3 transfers as NOT transferred (failed: not_transferred)" in shown
    assert bench.index("unknown") == set(lost)

    exit_code, shown = answer("--transferred", "y")
    assert exit_code == 0, shown
    assert "Settle these 3 transfers as transferred (submitted: transfer_confirmed)?" in shown
    assert shown.count("[y/N]") == 1
    assert "100%" in shown  # the progress bar
    assert shown.endswith("3 of 3 settled: 3 submitted (transfer_confirmed).\n")


@pytest.mark.parametrize("as_document", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("command", ["resolve", "cancel", "replay"])
def test_where_nobody_can_be_asked_nothing_is_done_without_yes(ask, bench, command, as_document):
    lose(bench)
    bench.accept()
    finish(bench, state=State.REJECTED, reason=Reason.CALL_NOT_FOUND)
    before = len(bench.audit())
    verdict = ["--transferred"] if command == "resolve" else []

    answer = ask(command, *verdict, "--destination", "support", "--reason", "r", *as_document)

    assert answer.exit_code == 2
    assert "--yes: nobody is there to be asked" in answer.stderr
    assert "this transfer" in answer.stderr
    assert len(bench.audit()) == before


def test_what_waits_is_withdrawn_for_one_requester(ask, bench):
    loops = [bench.accept(asked_by="agent loop").transfer_id for _ in range(3)]
    claimed = bench.accept(asked_by="agent loop").transfer_id
    bench.claim(claimed)
    sending = bench.begin_first(str(uuid.uuid4())).transfer_id
    other = bench.accept(asked_by="agent quiet").transfer_id

    document = as_json(
        ask("cancel", "--requester", "agent loop", "--reason", "it loops", "--yes", "--json",
            "--per-second", "100")
    )  # fmt: skip

    assert [turn["told"] for turn in document["transfers"]] == ["cancelled (cancelled_by_operator)"] * 4
    assert details(bench, "transfer.finished") == dict.fromkeys([*loops, claimed], "ana: it loops")
    assert (bench.record(other).state, bench.record(sending).state) == ("waiting", "sending")


def test_a_replay_of_many_never_includes_what_may_have_moved_a_call(ask, worker, cluster, bench):
    calls = {name: str(uuid.uuid4()) for name in ("refused", "twice", "lost", "settled", "moved", "back")}
    cluster.sandbox.controls.script(calls["refused"], ["404"])
    cluster.sandbox.controls.script(calls["twice"], ["404", "404"])
    cluster.sandbox.controls.script(calls["moved"], ["404"])
    refused = send(ask, "support", call_id=calls["refused"])
    send(ask, "support", call_id=calls["twice"])
    twice = send(ask, "support", call_id=calls["twice"])
    lost = send(ask, "silent", call_id=calls["lost"])
    settled = send(ask, "silent", call_id=calls["settled"])
    ask("resolve", settled, "--transferred", "--reason", "r")
    send(ask, "support", call_id=calls["moved"])
    send(ask, "support", call_id=calls["moved"])
    back = send(ask, "gone", call_id=calls["back"])
    before = cluster.sandbox.post_count()

    document = as_json(
        ask("replay", "--destination", "support", "--since", "1h", "--for-seconds", "20", "--yes", "--json",
            "--reason", "a wrong id", "--per-second", "100")
    )  # fmt: skip

    asked = {turn["transfer_id"]: turn for turn in document["transfers"]}
    assert set(asked) == {refused, twice}
    assert {turn["told"] for turn in asked.values()} == {"submitted (accepted_by_platform)"}
    assert document["left_out"] == {
        "their call has had another transfer since": 1,
        "their call's last transfer is submitted: Piopiy has accepted it: the call has been moved": 1,
    }
    assert cluster.sandbox.post_count() - before == 2
    accepted = bench.audit(asked[twice]["new_transfer_id"])[0]
    assert (accepted["operator"], accepted["replay_of"], accepted["detail"]) == ("ana", twice, "a wrong id")

    answer = ask("replay", "--state", "unknown", "--reason", "r", "--for-seconds", "9", "--yes")
    assert (answer.exit_code, "replay never acts on unknown" in answer.stderr) == (2, True)
    left = ask(
        "replay", "--since", "1h", "--reason", "r", "--for-seconds", "9", "--yes", "--per-second", "100"
    )
    assert left.stdout.endswith("0 of 1 asked for again.\n")  # that of `gone`, which is refused once more
    assert f"{back}: rejected (call_not_found)" in left.stderr
    assert left.exit_code == 1
    assert (cluster.sandbox.post_count(calls["lost"]), bench.record(lost).state) == (1, "unknown")


def test_more_than_the_limit_are_taken_by_the_same_command_again(ask, bench):
    lose(bench, 5)
    command = ["resolve", "--since", "1h", "--transferred", "--reason", "r", "--limit", "3", "--yes"]
    first = ask(*command, "--per-second", "100")
    assert first.stdout.endswith("3 of 3 settled: 3 submitted (transfer_confirmed).\n")
    assert "These are 3, and there are more: the same command again takes the next." in first.stderr
    second = ask(*command, "--per-second", "100", "--json")
    assert (as_json(second)["is_cut"], as_json(second)["chosen"]) == (False, 2)
    assert bench.index("unknown") == set()


@pytest.mark.parametrize(
    "words",
    [
        ["resolve", "--transferred"],
        ["resolve", "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60", "--state", "unknown", "--transferred"],
        ["cancel"],
        ["replay", "--yes"],
        ["replay", "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60", "--since", "1h"],
        ["resolve", "--state", "failed", "--transferred"],
        ["cancel", "--state", "sending"],
        ["replay", "--state", "submitted"],
        ["replay", "--since", "soon"],
    ],
    ids=" ".join,
)
def test_which_transfers_are_meant_is_said_in_one_way(ask, bench, words):
    finish(bench)
    answer = ask(*words, "--reason", "r", "--json")
    assert answer.exit_code == 2
    field = json.loads(answer.stdout)["error"]["field"]
    assert field in {"CALL_OR_TRANSFER_ID", "--state", "--since"}


@pytest.mark.parametrize("as_document", [True, False], ids=["json", "text"])
@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(LedgerUnavailable("gone"), 3), (KeyboardInterrupt(), 130)],
    ids=["gone", "ctrl-c"],
)
def test_what_was_done_before_an_end_is_told(bench, capsys, error, exit_code, as_document):
    lost = lose(bench, 3)
    chosen = select_transfers(bench.ledger, Wanted(), command="resolve", limit=10)

    def act(record):
        if record.transfer_id == lost[0]:  # the newest come first
            raise error
        return Turn(record, is_done=True, told="settled")

    order = bulk.Order(
        command="resolve", question="?", done="settled", per_second=100, is_agreed=True, as_json=as_document
    )
    with pytest.raises((type(error), typer.Exit)) as ended:
        bulk.carry_out(bench.ledger, order, chosen, act)

    told = capsys.readouterr().out
    if as_document:
        document = json.loads(told)
        assert ended.value.exit_code == exit_code
        assert [turn["transfer_id"] for turn in document["transfers"]] == lost[:0:-1]
        assert document["stopped_by"]
    else:
        assert ended.value is error
        assert "2 of 3 settled: 2 settled." in told


def test_one_that_is_refused_holds_up_none_of_the_others(bench, capsys):
    lost = lose(bench, 3)
    chosen = select_transfers(bench.ledger, Wanted(), command="resolve", limit=10)

    def act(record):
        if record.transfer_id == lost[1]:
            raise OperationRefused(field="ID", problem="somebody was faster", fix="Look.")
        return Turn(record, is_done=True, told="settled")

    order = bulk.Order(
        command="resolve", question="?", done="settled", per_second=100, is_agreed=True, as_json=False
    )
    with pytest.raises(typer.Exit) as ended:
        bulk.carry_out(bench.ledger, order, chosen, act)

    told = capsys.readouterr()
    assert ended.value.exit_code == 1
    assert "2 of 3 settled: 2 settled." in told.out
    assert f"{lost[1]}: ID: somebody was faster. Look." in told.err
