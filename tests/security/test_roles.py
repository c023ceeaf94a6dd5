"""The attempts of those who write to Redis, with each role's password: what Redis stops, and the rest.

What Redis lets through is in the table of docs/security.md, and moves no call that no key has asked for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from support.cluster import make_intent
from support.ledger_bench import LedgerBench
from support.role_users import add_roles
from support.signing import VOICE_KEY
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.outcome import State
from transfer_tasks.publisher import TransferPublisher
from transfer_tasks.redis.connection import connect
from transfer_tasks.settings import PublisherSettings
from transfer_worker.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.signing import SignedCluster
    from transfer_tasks.intent import TransferIntent

OPERATOR = OperatorCommands(retention_seconds=1000)
PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")


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


def alter(bench: LedgerBench, transfer_id: str, intent: TransferIntent) -> None:
    text = intent.to_json().replace("support", "billing")
    bench.client.hset(bench.keys.record(transfer_id), "intent", text)


ATTEMPTS: dict[str, Callable[[LedgerBench, str, TransferIntent], object]] = {
    "ask without a key": lambda bench, *_: bench.accept(destination="support"),
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


def read_table() -> dict[str, frozenset[str]]:
    """Return what the page says that Redis lets through, by attempt."""
    rows = re.findall(r"^\| ([a-zA-Z' ]+) \| ([a-z, ]+) \|$", PAGE, re.MULTILINE)
    return {attempt: frozenset(who.split(", ")) - {"nobody"} for attempt, who in rows if attempt in ATTEMPTS}


@pytest.fixture(scope="module")
def logins(signed: SignedCluster) -> dict[Role, str]:
    return add_roles(signed.cluster.redis_url)


@pytest.fixture
def waiting(signed: SignedCluster) -> Iterator[tuple[str, TransferIntent]]:
    """A signed transfer that waits, while the worker is held up; whatever was done to Redis is undone."""
    with signed.held_up(), signed.bench() as bench:
        intent = make_intent("support")
        transfer_id = signed.submit(VOICE_KEY, intent)
        yield transfer_id, intent
        bench.client.delete(bench.keys.paused, bench.keys.limits)
        bench.run(bench.commands.set_limits({"call": "5/600"}, worker="w1"))


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("role", Role)
def test_what_redis_lets_through_is_what_the_page_says_and_moves_no_call(
    signed: SignedCluster,
    logins: dict[Role, str],
    waiting: tuple[str, TransferIntent],
    role: Role,
    attempt: str,
) -> None:
    transfer_id, intent = waiting
    with connect(logins[role], timeout_seconds=30) as client:
        try:
            ATTEMPTS[attempt](LedgerBench(client), transfer_id, intent)
        except redis.exceptions.NoPermissionError:
            is_refused = True
        except LedgerUnavailable as error:
            is_refused = "does not permit" in error.cause
        else:
            is_refused = False
    assert is_refused == (role not in read_table()[attempt])
    assert signed.posts(intent.call_id) == 0  # nobody but the worker sends anything


def test_the_page_has_every_attempt() -> None:
    assert read_table().keys() == ATTEMPTS.keys()
    assert set().union(*read_table().values()) == set(Role)


@pytest.mark.parametrize("role", [Role.PUBLISHER, Role.OPERATOR])
def test_who_may_ask_and_has_no_key_moves_nothing(
    signed: SignedCluster, logins: dict[Role, str], role: Role
) -> None:
    intent = make_intent("support")
    settings = PublisherSettings(redis_url=logins[role], publish_budget_seconds=10)
    with TransferPublisher(settings) as publisher:
        transfer_id = publisher.submit(intent).transfer_id
    assert signed.ending(transfer_id).state is State.REJECTED
    assert signed.posts(intent.call_id) == 0


@pytest.mark.parametrize("role", [Role.PUBLISHER, Role.OPERATOR])
def test_who_may_alter_a_record_has_the_call_moved_nowhere_else(
    signed: SignedCluster, logins: dict[Role, str], role: Role
) -> None:
    intent = make_intent("support")
    with connect(logins[role], timeout_seconds=30) as client, signed.held_up():
        transfer_id = signed.submit(VOICE_KEY, intent)
        alter(LedgerBench(client), transfer_id, intent)
    assert signed.ending(transfer_id).state is State.REJECTED
    assert signed.posts(intent.call_id) == 0
