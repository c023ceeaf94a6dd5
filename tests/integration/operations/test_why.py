"""`why`: the reason of an outcome, what it means, and what to do next."""

from __future__ import annotations

import pytest

from support.operating import as_json, send
from transfer_tasks.outcome import GUIDE, Reason

pytestmark = pytest.mark.usefixtures("no_key_leaks")


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
    bench.heartbeat()
    assert "no worker has claimed it yet" in ask("why", transfer_id).stdout
    claim = bench.claim(transfer_id)
    assert "claimed it" in ask("why", transfer_id).stdout
    bench.begin(claim)
    text = ask("why", transfer_id).stdout
    assert "its answer is awaited" in text
    assert "cancel" not in text
