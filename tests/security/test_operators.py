"""Operators' commands with a key and without: whose word moves a call."""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from support.attackers import NOT_PERMITTED
from support.cluster import make_intent
from support.signing import OPERATORS_KEY, VOICE_KEY
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.outcome import Reason, State
from transfer_worker import cli

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from support.attackers import Attacker
    from support.signing import SignedCluster


@pytest.fixture
def ask(attacker: Attacker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Run one command in this process, with a key or with none, by the password of a role."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TRANSFER_", "PIOPIY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("USER", "ana")

    def run(key: str, command: str, *arguments: str) -> Result:
        env = {"TRANSFER_REDIS_URL": attacker.redis_url, "TRANSFER_SIGNING_KEY": key}
        answer = CliRunner().invoke(cli.app, [command, *arguments], env=env)
        if answer.exit_code == 0 or NOT_PERMITTED in answer.output:
            with attacker.trying(f"run {command}"):
                if answer.exit_code:
                    raise LedgerUnavailable(answer.output)
        return answer

    return run


def cancelled(signed: SignedCluster) -> tuple[str, str]:
    """Return a transfer that has moved nothing, and its call."""
    intent = make_intent("support")
    with signed.held_up(), signed.bench() as bench:
        transfer_id = signed.submit(VOICE_KEY, intent)
        bench.cancel(transfer_id)
    return transfer_id, intent.call_id


def read_json(answer: Result) -> Any:
    return json.loads(answer.stdout)


def test_send_signs(signed: SignedCluster, ask: Callable[..., Result]) -> None:
    call_id = str(uuid.uuid4())
    answer = ask(OPERATORS_KEY, "send", "--call-id", call_id, "--to", "support", "--json")
    assert answer.exit_code == 0, answer.output
    assert signed.ending(read_json(answer)["transfer_id"]).asked_by == "ops"
    assert ask("", "send", "--call-id", str(uuid.uuid4()), "--to", "support").exit_code == 1
    assert signed.posts(call_id) == 1


def test_a_replay_is_signed_with_the_operators_key_and_name(
    signed: SignedCluster, ask: Callable[..., Result]
) -> None:
    transfer_id, call_id = cancelled(signed)
    words = ("replay", transfer_id, "--reason", "still there", "--for-seconds", "30", "--yes", "--json")

    unsigned = read_json(ask("", *words))
    assert signed.ending(unsigned["transfer_id"]).reason is Reason.SIGNATURE_INVALID
    assert signed.posts(call_id) == 0

    replayed = read_json(ask(OPERATORS_KEY, *words))
    record = signed.ending(replayed["transfer_id"])
    assert (record.state, record.asked_by) == (State.SUBMITTED, "ops")
    assert json.loads(record.intent_json)["requested_by"].startswith("ana, replay of ")
    assert signed.posts(call_id) == 1


def test_what_nobody_with_a_key_has_asked_for_is_not_replayed(
    signed: SignedCluster, ask: Callable[..., Result]
) -> None:
    intent = make_intent("billing")
    transfer_id = signed.ending(signed.submit(None, intent)).transfer_id
    answer = ask(OPERATORS_KEY, "replay", transfer_id, "--reason", "r", "--for-seconds", "30", "--yes")
    assert answer.exit_code == 1
    assert "nobody with a key has asked" in answer.stderr
    assert signed.posts(intent.call_id) == 0


def test_show_and_list_say_who_has_signed(signed: SignedCluster, ask: Callable[..., Result]) -> None:
    intent = make_intent("support")
    transfer_id = signed.ending(signed.submit(VOICE_KEY, intent)).transfer_id
    (shown,) = read_json(ask("", "show", transfer_id, "--json"))["transfers"]
    assert shown["asked_by"] == "voice"
    assert "signed by" in ask("", "show", transfer_id).stdout
    listed = {one["transfer_id"]: one for one in read_json(ask("", "list", "--json"))["transfers"]}
    assert listed[transfer_id]["asked_by"] == "voice"
    assert "signed by" in ask("", "list").stdout


def test_a_cancel_and_a_resolve_need_no_key_and_cause_no_post(
    signed: SignedCluster, ask: Callable[..., Result]
) -> None:
    intent = make_intent("support")
    with signed.held_up():
        transfer_id = signed.submit(VOICE_KEY, intent)
        assert ask("", "cancel", transfer_id, "--reason", "r").exit_code == 0
    with signed.bench() as bench:
        bench.heartbeat("w1")  # or the sweep takes it away from there
        lost = bench.accept(queue="elsewhere").transfer_id
        claim = bench.claim(lost)
        bench.begin(claim)
        bench.lose_answer(claim)
    assert ask("", "resolve", lost, "--not-transferred", "--reason", "r").exit_code == 0
    assert (
        signed.ending(signed.submit(VOICE_KEY)).state is State.SUBMITTED
    )  # whatever was queued before is served
    assert signed.ending(transfer_id).state is State.CANCELLED
    assert signed.posts(intent.call_id) == signed.posts(claim.call_id) == 0
