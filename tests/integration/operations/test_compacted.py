"""What an operator sees of a transfer that ended more than a day ago, and what can still be done with it."""

from __future__ import annotations

import json

import pytest

from support.ledger_bench import LedgerBench, disbelieve, finish, start
from support.operating import as_json
from support.passing_days import WEEK_SECONDS, compact_everything, let_a_day_pass
from transfer_tasks.outcome import Reason, State

pytestmark = pytest.mark.usefixtures("no_key_leaks")

WORD = "Hopper"
NOT_KEPT = "is not kept for longer than a day after the ending"


@pytest.fixture
def bench(cluster):
    ledger = cluster.ledger()
    with ledger.client as client:
        yield LedgerBench(client, retention_seconds=WEEK_SECONDS)


@pytest.fixture
def rejected(bench) -> str:
    claim = start(bench, asked_by=f"agent of {WORD}", signature="voice:5")
    bench.end(
        claim, State.REJECTED, Reason.CALL_NOT_FOUND, http_status=404, answer_json=json.dumps({"of": WORD})
    )
    let_a_day_pass(bench)
    compact_everything(bench)
    return claim.transfer_id


def test_show_says_that_what_was_asked_is_not_kept_and_how_it_ended(ask, rejected):
    (told,) = as_json(ask("show", rejected, "--json"))["transfers"]
    assert told["is_compacted"]
    assert not told["is_damaged"]
    assert told["asked"] == {"requested_by": "", "reason": "", "metadata": {}}
    assert (told["state"], told["reason"], told["http_status"]) == ("rejected", "call_not_found", 404)
    assert [(each["attempt"], each["reason"], each["begun_at"]) for each in told["attempts"]] == [
        (1, "call_not_found", None)
    ]
    shown = ask("show", rejected).stdout
    assert NOT_KEPT in " ".join(shown.split())
    assert "not said" not in shown
    assert "None" not in shown
    assert WORD not in shown


def test_show_of_one_that_was_accepted(ask, bench):
    transfer_id = finish(bench)
    before = as_json(ask("show", transfer_id, "--json"))["transfers"][0]
    assert not before["is_compacted"]
    let_a_day_pass(bench)
    compact_everything(bench)
    told = as_json(ask("show", transfer_id, "--json"))["transfers"][0]
    assert told["is_compacted"]
    assert told["attempts"] == []
    assert told["meaning"] == before["meaning"]
    assert ask("show", transfer_id).exit_code == 0


def test_it_is_listed_and_counted(ask, rejected):
    (told,) = as_json(ask("list", "--since", "2d", "--json"))["transfers"]
    assert (told["transfer_id"], told["is_compacted"]) == (rejected, True)
    assert (told["requested_by"], told["asked_by"], told["attempts"]) == (None, None, 1)
    (counted,) = as_json(ask("list", "--since", "2d", "--by", "requester", "--json"))["counts"]
    assert counted["requester"] == "(not kept)"


def test_it_can_not_be_asked_for_again(ask, bench, rejected):
    answer = ask("replay", rejected, "--reason", "r", "--for-seconds", "9", "--no-wait", "--json")
    assert answer.exit_code == 1
    assert "ended more than a day ago: what was asked is not kept" in answer.output
    assert len(bench.ledger.read_call(bench.record(rejected).call_id)) == 1


def test_why_proposes_nothing_that_is_not_possible_any_more(ask, bench):
    transfer_id = finish(bench, state=State.FAILED, reason=Reason.PLATFORM_UNREACHABLE)
    assert "call-transfer replay" in ask("why", transfer_id).stdout
    let_a_day_pass(bench)
    compact_everything(bench)
    assert "call-transfer replay" not in ask("why", transfer_id).stdout


def test_it_is_erased_as_any_other_and_stays_compacted(ask, bench, rejected):
    bench.client.hset(bench.keys.record(rejected), "detail", f"of {WORD}")
    bench.write_lines()
    assert ask("erase", rejected, "--reason", "r").exit_code == 0
    held = bench.client.hgetall(bench.keys.record(rejected))
    assert WORD not in str(held)
    record = bench.record(rejected)
    assert (record.is_compacted, record.is_damaged, record.erased_at_ms > 0) == (True, False, True)
    assert bench.accept(transfer_id=rejected, content="support").verdict == "existing"


def test_what_was_erased_is_compacted_and_says_so(bench, ask):
    claim = disbelieve(bench)
    bench.client.hset(bench.keys.record(claim.transfer_id), "erased_ms", 5)
    let_a_day_pass(bench)
    compact_everything(bench)
    (told,) = as_json(ask("show", claim.transfer_id, "--json"))["transfers"]
    assert told["erased_at"]
    assert told["is_compacted"]
