"""Every snippet of docs/on-call.md prints what the runbook shows.

After a change of what is printed: WRITE_RUNBOOK=1 pytest tests/integration/test_runbook.py; read the diff.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from celery import Celery

from support import wait_until
from support.cluster import make_intent
from support.ledger_bench import LedgerBench
from support.runbook import RUNBOOK, read_snippets, replace_snippet, without_what_varies
from transfer_worker.queue.transport import CONTROL_EXCHANGE

REGISTRY = """
[support]
description = "Technical support"
endpoints = ["+1 202-555-0100"]

[sales]
description = "Sales"
endpoints = ["+1 202-555-0143"]

[billing]
description = "Invoices"
endpoints = ["+1 202-555-0104"]

[night-desk]
description = "At night"
endpoints = ["+1 202-555-0162"]
"""


def call(number):
    return f"10000000-0000-4000-8000-{number:012}"


def transfer(number):
    return f"20000000-0000-4000-8000-{number:012}"


@pytest.fixture
def run_command(cluster, ask, tmp_path, monkeypatch):
    """The runbook's reader at a terminal: the worker's settings are in the environment."""
    (tmp_path / "destinations.toml").write_text(REGISTRY)
    for name in [name for name in os.environ if name.startswith("FLOWER_")]:
        monkeypatch.delenv(name)
    for name, value in cluster.worker_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRANSFER_DESTINATIONS_FILE", "destinations.toml")
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "on-call:correct-horse")
    cluster.environment["TRANSFER_DESTINATIONS_FILE"] = str(tmp_path / "destinations.toml")
    return ask


def submit(publisher, number, to, **fields):
    asked = {"requested_by": "agent billing-bot", "reason": "The invoice is wrong", **fields}
    return publisher.submit(make_intent(to, call_id=call(number), transfer_id=transfer(number), **asked))


def healthy(cluster, publisher, bench, monkeypatch):
    cluster.start_worker()
    submit(publisher, 1, "support", metadata={"ticket": "4711"}).outcome(5)


def no_worker(cluster, publisher, bench, monkeypatch):
    submit(publisher, 2, "support", expires_in_seconds=60)
    bench.client.zincrby(bench.keys.open_ids, -7000, transfer(2))


def trouble(cluster, publisher, bench, monkeypatch):
    cluster.start_worker()
    cluster.sandbox.controls.script(call(3), ["503:60"])  # asks for a wait beyond every deadline
    submit(publisher, 3, "sales", expires_in_seconds=1).outcome(5)
    for number, to in ((4, "billing"), (5, "night-desk"), (1, "support")):
        submit(publisher, number, to).outcome(5)


def platform_down(cluster, publisher, bench, monkeypatch):
    cluster.start_worker(PIOPIY_API_URL="http://127.0.0.1:1/v3")
    handles = [submit(publisher, number, "support", expires_in_seconds=3) for number in (1, 2, 3)]
    for handle in handles:
        handle.outcome(5)


def answers_lost(cluster, publisher, bench, monkeypatch):
    """As after an outage of the platform: it has carried nothing out, and said nothing."""
    cluster.start_worker()
    for number in (1, 2):
        cluster.sandbox.controls.script(call(number), ["reset-not-done"])
        submit(publisher, number, "sales").outcome(5)


def moved_twice(cluster, publisher, bench, monkeypatch):
    """As after `kill -STOP` of a worker, wrong evidence, a replay, and `kill -CONT`."""
    cluster.start_worker()
    first = bench.begin_first(call(1))
    bench.bury()
    bench.client.hset(bench.keys.record(first.transfer_id), "worker", "w0@test/4242-0a0a0a")
    bench.recover()
    bench.resolve(first.transfer_id, transferred=False)
    publisher.submit(make_intent("support", call_id=call(1))).outcome(5)
    bench.end(first)


def remote_control(cluster, publisher, bench, monkeypatch):
    cluster.start_worker(TRANSFER_REMOTE_CONTROL="operator")
    with Celery("flower", broker=cluster.redis_url, set_as_current=False) as app:
        app.conf.update(control_exchange=CONTROL_EXCHANGE)
        app.control.cancel_consumer("transfers", reply=True, timeout=10, limit=1)
    (worker,) = bench.client.zrange(bench.keys.workers, 0, -1)
    wait_until(lambda: "cancel_consumer" in (bench.client.get(bench.keys.worker(worker)) or ""))


def redis_gone(cluster, publisher, bench, monkeypatch):
    monkeypatch.setenv("TRANSFER_REDIS_URL", "redis://127.0.0.1:1/0")


def old_worker(cluster, publisher, bench, monkeypatch):
    cluster.start_worker()
    bench.run(
        bench.commands.heartbeat(
            worker="old", lease_ms=60_000, about_json='{"version": "0.0.9"}', queue="transfers"
        )
    )


def one_differs(cluster, publisher, bench, monkeypatch):
    cluster.start_worker()
    cluster.start_worker()
    typo = Path(cluster.environment["TRANSFER_DESTINATIONS_FILE"]).with_name("typo.toml")
    typo.write_text(REGISTRY.replace("555-0143", "555-0134"))
    cluster.start_worker(TRANSFER_DESTINATIONS_FILE=str(typo))


SCENES = {
    scene.__name__.replace("_", " "): scene
    for scene in (
        healthy,
        no_worker,
        trouble,
        platform_down,
        answers_lost,
        moved_twice,
        remote_control,
        redis_gone,
        old_worker,
        one_differs,
    )
}


def run_snippet(run_command, snippet):
    """Return what a reader would see who types the snippet's commands."""
    shown = []
    for command in snippet.commands:
        words = shlex.split(command.removesuffix("; echo $?"))
        assert words.pop(0) == "call-transfer", command
        answer = run_command(*words)
        shown.append(f"$ {command}\n{answer.output}")
        if command.endswith("; echo $?"):
            shown.append(f"{answer.exit_code}\n")
    return "".join(f"{line.rstrip()}\n" for part in shown for line in part.splitlines())


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_the_snippets_print_what_the_runbook_shows(scene, cluster, run_command, publisher, monkeypatch):
    snippets = [snippet for snippet in read_snippets() if snippet.scene == scene]
    assert snippets
    ledger = cluster.ledger()
    with ledger.client as client:
        SCENES[scene](cluster, publisher, LedgerBench(client), monkeypatch)
        for snippet in snippets:
            shown = run_snippet(run_command, snippet)
            if os.environ.get("WRITE_RUNBOOK"):
                replace_snippet(snippet, shown)
            else:
                assert without_what_varies(shown) == without_what_varies(snippet.text)


def test_every_snippet_belongs_to_a_scene():
    snippets = read_snippets()
    assert {snippet.scene for snippet in snippets} == set(SCENES)
    assert len(snippets) == RUNBOOK.read_text("utf-8").count("```console")


@pytest.mark.parametrize(
    "question",
    [
        "Where is this call's transfer?",
        "Why did it fail?",
        "Is the platform down?",
        "How old is the oldest?",
        "Who sent this call to that number?",
        "Did we move anyone twice?",
        "How do I stop it?",
        "How do I replay?",
        "What are unknowns, and how do I settle them?",
        "Who has changed a worker?",
        "Redis is gone, what now?",
        "Which worker differs?",
        "Rolling a new version",
    ],
)
def test_every_question_has_a_page_with_a_command_and_is_found_from_the_top(question):
    text = RUNBOOK.read_text("utf-8")
    _, page = text.split(f"\n## {question}\n")
    assert "$ call-transfer " in page.partition("\n## ")[0]
    anchor = re.sub(r"[^\w -]", "", question.lower()).replace(" ", "-")
    assert f"- [{question}](#{anchor})" in text
