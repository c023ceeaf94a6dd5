"""The drill: twelve incidents and ten questions; the runbook's first command names the cause, or answers."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
import redis

from support import wait_until
from support.cluster import make_intent
from support.runbook import read_incidents, read_questions

LIMITED = """
[limits]
requester = "2/min"
"""

INCIDENTS = {incident.what: incident for incident in read_incidents()}


@pytest.fixture
def ledger(cluster):
    """The ledger, to look into."""
    ledger = cluster.ledger()
    with ledger.client:
        yield ledger


@pytest.fixture
def workers(ledger):
    """What living workers say in their heartbeats, by their names."""

    def read():
        keys = ledger.client.keys(ledger.keys.worker("*"))
        said = {key: ledger.client.get(key) for key in keys}
        return {key.partition(":worker:")[2]: json.loads(about) for key, about in said.items() if about}

    return read


def ask_for(publisher, *destinations, **fields):
    handles = [publisher.submit(make_intent(to, **fields)) for to in destinations]
    for handle in handles:
        handle.outcome()
    return handles


@pytest.fixture
def the_platform_does_not_answer(cluster, publisher):
    cluster.start_worker(TRANSFER_ATTEMPT_TIMEOUT_SECONDS="1")
    ask_for(publisher, *["+1 202-555-0160"] * 2)


@pytest.fixture
def the_token_was_revoked(cluster, publisher):
    cluster.start_worker(PIOPIY_TOKEN="yesterdays-token")
    ask_for(publisher, "support")


@pytest.fixture
def all_workers_are_dead(cluster, workers):
    worker = cluster.start_worker()
    os.killpg(worker.pid, signal.SIGKILL)
    wait_until(lambda: not workers())


@pytest.fixture
def one_worker_is_frozen(cluster, workers):
    cluster.start_worker()
    frozen = cluster.start_worker()
    frozen.send_signal(signal.SIGSTOP)
    wait_until(lambda: len(workers()) == 1)


@pytest.fixture
def a_worker_crashes_again_and_again(cluster, workers):
    cluster.start_supervised()
    for restarts in range(3):
        wait_until(lambda so_far=restarts: [of["restarts"] for of in workers().values()] == [so_far])
        (about,) = workers().values()
        os.kill(about["process_id"], signal.SIGKILL)
    wait_until(lambda: [about["restarts"] for about in workers().values()] == [3])


@pytest.fixture
def redis_takes_no_writes(cluster, private_redis, monkeypatch):
    cluster.redis_url = private_redis.url
    monkeypatch.setenv("TRANSFER_REDIS_URL", private_redis.url)
    cluster.start_worker()
    with redis.Redis.from_url(private_redis.url) as client:
        client.config_set("maxmemory", 1)


@pytest.fixture
def redis_is_gone(monkeypatch):
    monkeypatch.setenv("TRANSFER_REDIS_URL", "redis://127.0.0.1:1/0")


@pytest.fixture
def one_destination_is_refused(cluster, publisher):
    cluster.start_worker()
    ask_for(publisher, "support", "billing", "support", "billing")


@pytest.fixture
def somebody_asks_again_and_again(cluster, publisher, registry):
    registry.write_text(registry.read_text() + LIMITED)
    cluster.start_worker()
    ask_for(publisher, "support", requested_by="agent quiet")
    ask_for(publisher, *["support"] * 5, requested_by="agent loop")


@pytest.fixture
def one_worker_has_read_another_registry(cluster, registry):
    cluster.start_worker()
    typo = registry.with_name("typo.toml")
    typo.write_text(registry.read_text().replace("555-0100", "555-0101"))
    cluster.start_worker(TRANSFER_DESTINATIONS_FILE=str(typo))


@pytest.fixture
def answers_were_lost(cluster, publisher):
    cluster.start_worker()
    ask_for(publisher, *["+1 202-555-0162"] * 3)


@pytest.fixture
def a_pause_was_forgotten(cluster, on_call):
    cluster.start_worker()
    on_call("pause", "billing", "--reason", "their line is dead")


@pytest.mark.parametrize("what", INCIDENTS)
def test_the_first_command_names_the_cause(what, on_call, request):
    request.getfixturevalue(what.lower().replace(" ", "_"))
    incident = INCIDENTS[what]
    program, *words = incident.command.split()
    assert program == "call-transfer"

    # A concern of the last minute may need its second heartbeat.
    wait_until(lambda: incident.is_told_in(on_call(*words)), message=lambda: on_call(*words))


def test_the_drill_has_twelve_incidents_and_ten_questions():
    assert len(INCIDENTS) == 12
    assert read_questions().keys() == {*ANSWERS, *OLDEST}


OLDEST = {"How old is the oldest?": r"waiting +1, the oldest for 7\.\d s"}

ANSWERS = {
    "Where is this call's transfer?": r"submitted \(accepted_by_platform\)  to support",
    "Why did it fail?": r"rejected \(refused_by_platform\): to billing(.|\n)*means(.|\n)*next",
    "Is the platform down?": r"platform +requests in the last minute: 3 \(.*33% no answer",
    "Who sent this call to that number?": r"asked by +agent billing-bot\n +because +The invoice is wrong",
    "Did we move anyone twice?": r"moved twice +0\n",
    "What are unknowns, and how do I settle them?": r"unknown \(answer_lost\) +endpoints \+1\*+62",
    "Who asks so often?": r"count +requester *\n +3 +agent billing-bot",
    # These change something, so they come last.
    "How do I replay?": r"(?m)^accepted: transfer .*, number 2 of call .*\nrejected \(refused_by_platform",
    "How do I stop it?": r"^Paused: billing\. Transfers ended by it: 0\.",
}
"""What each question's command must say, after one transfer went well, one was refused, and one was lost."""


def test_each_question_is_answered_by_its_command(cluster, publisher, on_call):
    cluster.start_worker()
    asked = {"requested_by": "agent billing-bot", "reason": "The invoice is wrong"}
    moved, refused, _ = ask_for(publisher, "support", "billing", "+1 202-555-0162", **asked)
    calls = {
        "Why did it fail?": refused.transfer_id,
        "How do I replay?": refused.transfer_id,
    }
    questions = read_questions()
    for question, answer in ANSWERS.items():
        words = {"CALL": calls.get(question, moved.transfer_id), "DESTINATION": "billing", "WHY": "a drill"}
        _, *command = questions[question].split()
        said = on_call(*(words.get(word, word) for word in command))
        seen = "".join(f"{line.rstrip()}\n" for line in said.splitlines())
        assert re.search(answer, seen), f"{question}\n{seen}"


def test_the_oldest_is_told_by_its_command(ledger, publisher, on_call):
    ((question, answer),) = OLDEST.items()
    handle = publisher.submit(make_intent("support"))
    ledger.client.zincrby(ledger.keys.open_ids, -7000, handle.transfer_id)
    _, *command = read_questions()[question].split()
    assert re.search(answer, on_call(*command))
