"""What Redis lets each role try: the table of docs/security.md, by which the other attempts are judged."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.attackers import LET_THROUGH
from support.cluster import make_intent
from support.signing import VOICE_KEY
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_worker.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.attackers import Attacker
    from support.ledger_bench import LedgerBench
    from support.signing import SignedCluster
    from transfer_tasks.intent import TransferIntent

OPERATOR = OperatorCommands(retention_seconds=1000)

LINE = {
    "event": "x",
    "at_ms": "1",
    "transfer_id": "",
    "call_id": "",
    "key": "",
    "hop": "1",
    "attempt": "0",
} | {
    "labels": "{}",
    "data": "{}",
}


COMMANDS = ("send", "replay", "show", "list", "cancel", "resolve")
"""Tried in `test_operators`."""


def alter(bench: LedgerBench, transfer_id: str, intent: TransferIntent) -> None:
    text = intent.to_json().replace("support", "billing")
    bench.client.hset(bench.keys.record(transfer_id), "intent", text)


ATTEMPTS: dict[str, Callable[[LedgerBench, str, TransferIntent], object]] = {
    "ask for a transfer": lambda bench, *_: bench.accept(destination="support"),
    "put a message on the queue": lambda bench, *_: bench.client.lpush(bench.queue, "not JSON"),
    "take messages off the queue": lambda bench, *_: bench.client.ltrim(bench.queue, 1, 0),
    "read the queue": lambda bench, *_: bench.client.lrange(bench.queue, 0, -1),
    "read a record": lambda bench, which, _: bench.client.hgetall(bench.keys.record(which)),
    "alter a record": alter,
    "remove a record": lambda bench, which, _: bench.client.expire(bench.keys.record(which), 0),
    "withdraw a transfer": lambda bench, which, _: bench.cancel(which),
    "put off the sweep": lambda bench, which, _: bench.client.hset(bench.keys.sweep, "last_ms", 0),
    "pause everything": lambda bench, *_: bench.run(OPERATOR.pause("*", operator="x", reason="y", limit=9)),
    "lift a pause": lambda bench, *_: bench.client.hdel(bench.keys.paused, "*"),
    "lift the limits": lambda bench, *_: bench.client.hset(bench.keys.limits, "call", "off"),
    "reset a limit's counter": lambda bench, *_: bench.client.expire(bench.keys.limit("call", "x"), 0),
    "be taken for a worker": lambda bench, *_: bench.heartbeat("ghost"),
    "write an audit line": lambda bench, *_: bench.client.xadd(bench.keys.audit, LINE),
    "read the audit lines": lambda bench, *_: bench.client.xrange(bench.keys.audit),
    "take audit lines from the writers": lambda bench, *_: bench.client.xtrim(bench.keys.audit, maxlen=0),
    "forget a chain of the audit": lambda bench, *_: bench.client.hdel(bench.keys.audit_heads, "chain"),
    "empty the quarantine": lambda bench, *_: bench.client.ltrim(bench.keys.quarantine, 1, 0),
    "wake a session": lambda bench, *_: bench.client.publish(bench.keys.reply("x"), "y"),
    "speak to workers": lambda bench, *_: bench.client.publish("/0.transfer.control.pidbox", "{}"),
    "ask for Redis's settings": lambda bench, *_: bench.client.config_get("*"),
    "delete everything": lambda bench, *_: bench.client.flushall(),
}


@contextmanager
def waiting(signed: SignedCluster) -> Iterator[tuple[str, TransferIntent]]:
    """Yield a signed transfer that waits while the worker is held up; what was done to Redis is undone."""
    with signed.held_up(), signed.bench() as bench:
        intent = make_intent("support")
        transfer_id = signed.submit(VOICE_KEY, intent)
        try:
            yield transfer_id, intent
        finally:
            bench.client.delete(bench.keys.paused, bench.keys.limits)
            bench.run(bench.commands.set_limits({"call": "5/600"}, worker="w1"))


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("role", Role)
def test_what_redis_lets_through_is_what_the_page_says_and_moves_no_call(
    signed: SignedCluster, attacker: Attacker, attempt: str
) -> None:
    with waiting(signed) as (transfer_id, intent):
        with attacker.trying(attempt), attacker.bench() as bench:
            ATTEMPTS[attempt](bench, transfer_id, intent)
        assert signed.posts(intent.call_id) == 0  # nobody but the worker sends anything


def test_the_page_has_every_attempt() -> None:
    assert LET_THROUGH.keys() == ATTEMPTS.keys() | {f"run {command}" for command in COMMANDS}
    assert set().union(*LET_THROUGH.values()) == set(Role)
