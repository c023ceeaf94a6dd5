"""Every command knows a call and a transfer by its id, or by a beginning that no other has."""

from __future__ import annotations

import json

import pytest

from support.operating import as_json, send
from transfer_tasks.outcome import Reason, State

pytestmark = pytest.mark.usefixtures("no_key_leaks")

CALL = "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60"
TRANSFER = "9137de8c-49c4-4180-84bd-ddad37a8246e"
SIBLING = "9137de8c-49c4-4180-84bd-000000000000"
SPELLINGS = (
    CALL, CALL.upper(), CALL.replace("-", ""), CALL[:8], CALL[:13], CALL[:3], CALL.replace("-", "")[:14],
    TRANSFER, TRANSFER[:8], TRANSFER.replace("-", "")[:20].upper(),
)  # fmt: skip


@pytest.mark.parametrize("wanted", SPELLINGS)
def test_a_call_is_found_by_either_id_and_by_a_beginning_of_either(ask, bench, wanted):
    bench.accept(call_id=CALL, transfer_id=TRANSFER)

    assert as_json(ask("show", wanted, "--json"))["call_id"] == CALL
    assert as_json(ask("why", wanted, "--json"))["transfer_id"] == TRANSFER
    (line,) = ask("tail", "--no-follow", "--json", "--call", wanted).stdout.splitlines()
    assert json.loads(line)["transfer_id"] == TRANSFER
    assert ask("cancel", wanted, "--reason", "r").exit_code == 0


def test_what_tail_prints_is_understood(ask, worker):
    send(ask, "support", call_id=CALL)
    printed = ask("tail", "--no-follow", "-n", "1").stdout.split()[1]
    assert as_json(ask("show", printed, "--json"))["call_id"] == CALL


def test_where_one_transfer_is_meant_a_call_stands_for_its_last(ask, bench):
    first = bench.begin_first(CALL)
    bench.end(first, State.FAILED, Reason.PLATFORM_UNREACHABLE)
    second = bench.begin_first(CALL)
    bench.end(second, State.UNKNOWN, Reason.ANSWER_LOST)

    assert ask("resolve", CALL[:9], "--transferred", "--reason", "r").exit_code == 0

    assert bench.record(second.transfer_id).state is State.SUBMITTED
    assert bench.record(first.transfer_id).state is State.FAILED


def test_a_beginning_of_several_names_them(ask, bench):
    for transfer_id in (TRANSFER, SIBLING):
        bench.accept(transfer_id=transfer_id)
    answer = ask("cancel", TRANSFER[:10], "--reason", "r")
    assert answer.exit_code == 1
    assert f"9137de8c-4 is the beginning of transfer {SIBLING}, transfer {TRANSFER}." in answer.stderr
    assert bench.record(TRANSFER).state is State.WAITING


@pytest.mark.parametrize(
    ("wanted", "code", "said"),
    [
        (CALL, 1, f"no call and no transfer has the id {CALL}"),
        (CALL[:8], 1, "no call and no transfer begins with 8f14e45f"),
        ("call-42", 2, "'call-42' is no id"),
        ("+1 202-555-0143", 2, "is no id"),
        ("", 2, "is no id"),
    ],
)
@pytest.mark.parametrize("command", ["show", "why", "cancel", "replay", "resolve"])
def test_a_wrong_one_says_what_was_looked_for(ask, command, wanted, code, said):
    options = {"show": [], "why": [], "resolve": ["--transferred", "--reason", "r"]}
    answer = ask(command, wanted, *options.get(command, ["--reason", "r"]), "--json")
    assert answer.exit_code == code
    assert said in answer.stderr
    assert "TRANSFER_REDIS_URL" not in answer.stderr
    assert json.loads(answer.stdout)["error"]["field"] == "CALL_OR_TRANSFER_ID"
