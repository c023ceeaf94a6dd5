"""The proxy in front of the platform does what it is told, and the history says what was done."""

from __future__ import annotations

import pytest

from chaos.history import History
from chaos.middleman import SOMEBODY_ELSES, Middleman
from chaos.middleman_record import read_middleman_file
from chaos.schedule import MIDDLEMAN
from transfer_tasks.outcome import Reason
from transfer_worker.errors import AttemptError, OutcomeUnknown, Refused
from transfer_worker.gateway import PiopiyGateway
from transfer_worker.sandbox import SandboxServer

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def ask(tmp_path):
    """Return a function that sends requests through a middleman, and returns what became of them."""

    def ask_all(acts):
        seen = []
        with (
            SandboxServer(record_path=tmp_path / "sandbox.jsonl") as sandbox,
            Middleman(sandbox, {}, 1, tmp_path / "middleman.jsonl") as middleman,
        ):
            origin = f"{middleman.origin}/v3"
            gateway = PiopiyGateway(token=sandbox.token, base_url=origin, timeout_seconds=5)
            for number, act in enumerate(acts, 1):
                middleman.mix = {act: 1.0} if act else {}
                key = f"{CALL_ID}:{number}"
                try:
                    gateway.send(call_id=CALL_ID, pipeline=[{"action": "hangup"}], idempotency_key=key)
                    seen.append(None)
                except AttemptError as error:
                    seen.append(error)
            gateway.close()
        history = History()
        history.read_sandbox_file(tmp_path / "sandbox.jsonl")
        read_middleman_file(history, tmp_path / "middleman.jsonl")
        return seen, history

    return ask_all


def test_it_passes_on_what_it_does_nothing_about(ask):
    seen, history = ask(["", ""])
    assert seen == [None, None]
    assert [(post.status, post.carried_out, post.is_disturbed) for post in history.posts] == [
        (200, True, False)
    ] * 2


def test_an_interim_answer_comes_before_the_platforms(ask):
    seen, history = ask(["hints"])
    assert seen == [None]
    assert history.middleman == {"hints": 1}


@pytest.mark.parametrize(("act", "moved"), [("503_before", False), ("503_after", True)])
def test_its_own_503_comes_before_the_fact_or_after_it(ask, act, moved):
    (error,), history = ask([act])
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.SERVER_ERROR)
    (post,) = history.posts
    assert (post.status, post.carried_out) == (503, moved)
    assert post.behaviour == ("proxy" if moved else "proxy-not-done")


def test_a_409_names_what_is_running_and_the_platform_never_hears_of_the_request(ask):
    (first, error), history = ask(["", "409"])
    assert first is None
    assert (type(error), error.reason) == (Refused, Reason.TRANSFER_IN_PROGRESS)
    assert error.answer["request_id"] == f"{CALL_ID}:1"
    refused = history.posts[1]
    assert (refused.status, refused.running, refused.carried_out) == (409, f"{CALL_ID}:1", False)


def test_nothing_runs_for_a_call_of_which_nothing_was_carried_out(ask):
    seen, _ = ask(["409"])
    assert seen == [None]


@pytest.mark.parametrize("act", ["left_over", "unasked", "late"])
def test_bytes_that_belong_to_nobody_are_noted_where_they_can_be_read(ask, act):
    seen, history = ask([act, ""])
    assert seen[0] is None
    assert isinstance(seen[1], OutcomeUnknown | None)
    first, second = (post.is_disturbed for post in history.posts)
    assert first == (act != "late")
    # What comes unasked may come before the next request: then that one takes another connection.
    assert act == "unasked" or second == (act == "late")


def test_a_late_piece_is_never_a_whole_answer(tmp_path):
    with SandboxServer() as sandbox, Middleman(sandbox, {}, 1, tmp_path / "middleman.jsonl") as middleman:
        for whole in SOMEBODY_ELSES:
            pieces = [middleman.cut(whole) for _ in range(200)]
            assert all(whole.startswith(piece) and piece != whole for piece in pieces)


def test_a_run_does_all_of_it():
    assert set(MIDDLEMAN) == {"hints", "503_before", "503_after", "left_over", "late", "unasked", "409"}
    assert sum(MIDDLEMAN.values()) < 1
