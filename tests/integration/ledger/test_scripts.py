"""The scripts in Redis, the order of a call's transfers, and namespaces."""

from __future__ import annotations

import pytest

from support import FaultProxy
from support.ledger_bench import LedgerBench
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.script import load_script
from transfer_tasks.ledger.verdicts import (
    Claim,
    Missing,
)
from transfer_tasks.redis.connection import connect


def test_a_script_that_redis_has_forgotten_is_sent_again(bench, waiting):
    bench.client.script_flush()
    assert isinstance(bench.claim(waiting), Claim)


def test_every_script_is_known_to_redis_by_the_hash_that_we_compute(bench):
    for name in ("accept", "claim", "begin_attempt", "end_attempt", "cancel", "expire", "resolve"):
        script = load_script(name)
        assert bench.client.script_load(script.source) == script.sha


def test_a_call_is_read_back_in_the_order_of_its_hops(bench):
    for destination in ("support", "sales", "billing"):
        bench.cancel(bench.accept(call_id="c", destination=destination).transfer_id)
    assert [(record.hop, record.labels["destination"]) for record in bench.ledger.read_call("c")] == [
        (1, "support"),
        (2, "sales"),
        (3, "billing"),
    ]


def test_a_redis_that_does_not_answer_is_one_typed_error(redis_url):
    with (
        FaultProxy.before(redis_url) as proxy,
        connect(proxy.url_for(redis_url), timeout_seconds=0.1) as client,
    ):
        bench = LedgerBench(client)
        bench.accept()
        proxy.hold()
        for ask in (bench.accept, lambda: bench.ledger.read("x"), lambda: bench.ledger.read_call("x")):
            with pytest.raises(LedgerUnavailable):
                ask()


def test_namespaces_do_not_see_each_other(bench, waiting):
    other = Ledger(bench.client, namespace="other", retention_seconds=10)
    assert other.read(waiting) is None
    assert other.run(other.commands.expire(waiting, source="x")) == Missing()
