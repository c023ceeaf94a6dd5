"""Attempts to move calls more often than the limits on rate allow; the sandbox counts what was sent."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support.attackers import log_in
from support.cluster import make_intent
from support.own_cluster import open_cluster
from support.signing import VOICE_KEY, SignedCluster, describe_name
from support.waiting import wait_until
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.message import build_message
from transfer_tasks.signature import Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from support.attackers import Attacker
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_worker.roles import Role

NAMES = {"support": "10/min", "billing": "off", "sales": "off", "desk": "3/min"}
REGISTRY = '[limits]\nrequester = "8/min"\n' + "".join(
    describe_name(name, f'limit = "{limit}"') for name, limit in NAMES.items()
)
LIMIT_OF_CALL = 5
REFUSED = (State.REJECTED, Reason.LIMIT_REACHED)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedCluster]:
    """One worker whose registry has limits; no publisher here knows that registry."""
    with open_cluster(tmp_path_factory.mktemp("limited"), registry=REGISTRY) as cluster:
        yield SignedCluster(cluster, cluster.start_worker())


@pytest.fixture
def limited(cluster: SignedCluster) -> SignedCluster:
    """The cluster, in which nothing counts yet."""
    with cluster.bench() as bench:
        for counted in bench.client.scan_iter(bench.keys.limit("*", "*")):
            bench.client.delete(counted)
    return cluster


@pytest.fixture
def attacker(limited: SignedCluster, role: Role | None) -> Attacker:
    return log_in(limited, role)


def numbers(count: int) -> list[str]:
    return [f"+1 202-555-01{number:02}" for number in range(30, 30 + count)]


def endings(limited: SignedCluster, transfer_ids: Iterable[str]) -> list[TransferRecord]:
    return [limited.ending(transfer_id) for transfer_id in transfer_ids]


def refused(records: Iterable[TransferRecord]) -> int:
    return sum((record.state, record.reason) == REFUSED for record in records)


def test_one_call_to_thirty_numbers_by_a_publisher(limited: SignedCluster, attacker: Attacker) -> None:
    call_id = str(uuid.uuid4())
    with attacker.publisher(None) as publisher:
        outcomes = [
            publisher.submit(make_intent(number, call_id=call_id)).outcome(30) for number in numbers(30)
        ]
    assert limited.posts(call_id) == LIMIT_OF_CALL
    assert [(outcome.state, outcome.reason) for outcome in outcomes[LIMIT_OF_CALL:]] == [REFUSED] * 25
    assert all("call: 5 in 600 s" in outcome.detail for outcome in outcomes[LIMIT_OF_CALL:])


def test_one_call_to_thirty_numbers_by_plain_celery(limited: SignedCluster, attacker: Attacker) -> None:
    call_id, records = str(uuid.uuid4()), []
    for number in numbers(30):
        transfer_id = str(uuid.uuid4())
        intent = make_intent(number, call_id=call_id, transfer_id=transfer_id)
        attacker.push(transfer_id, asked=json.loads(intent.to_json()))
        records.append(limited.ending(transfer_id))
    assert limited.posts(call_id) == LIMIT_OF_CALL
    assert refused(records) == 25


def test_one_call_to_thirty_numbers_by_records_that_nobody_has_accepted(
    limited: SignedCluster, attacker: Attacker
) -> None:
    call_id = str(uuid.uuid4())
    intents = [make_intent(number, call_id=call_id) for number in numbers(30)]
    with limited.held_up(), limited.bench() as bench:
        honest = limited.submit(None, make_intent("billing"))
        fields = bench.client.hgetall(bench.keys.record(honest))
        del fields["counted"]
        for intent in intents:
            forge(attacker, intent, fields)
    records = endings(limited, [intent.transfer_id for intent in intents])
    assert limited.posts(call_id) == LIMIT_OF_CALL
    assert refused(records) == 25


def forge(attacker: Attacker, intent: TransferIntent, fields: dict[str, str]) -> None:
    """Write a record and its message as `accept` does, without its step."""
    labels = intent.labels()
    message = build_message(
        transfer_id=intent.transfer_id,
        call_id=intent.call_id,
        labels=labels,
        queue="transfers",
        written=Written(intent.to_json()),
    )
    said = {
        "call_id": intent.call_id,
        "key": f"{intent.call_id}:1",
        "intent": intent.to_json(),
        "labels": json.dumps(labels),
        "message": message,
    }
    attacker.alter(intent.transfer_id, **{**fields, **said})
    with attacker.trying("remove a record"), attacker.bench() as bench:
        bench.client.expire(bench.keys.record(intent.transfer_id), 600)
    attacker.send(message)


def test_a_model_that_loops_is_stopped_holds_up_nobody_and_recovers(
    limited: SignedCluster, attacker: Attacker
) -> None:
    call_id = str(uuid.uuid4())
    with attacker.publisher(None) as publisher, limited.bench() as bench:
        for turn in range(40):
            name = ("billing", "sales")[turn % 2]
            publisher.submit(make_intent(name, call_id=call_id)).outcome(30)
        assert limited.posts(call_id) == LIMIT_OF_CALL
        other = make_intent("billing")
        assert publisher.submit(other).outcome(30).state is State.SUBMITTED

        counted = bench.keys.limit("call", call_id)
        assert bench.client.zcard(counted) == LIMIT_OF_CALL
        for transfer_id in bench.client.zrange(counted, 0, -1):
            bench.client.zincrby(counted, -600_000, transfer_id)  # ten minutes pass
        assert publisher.submit(make_intent("sales", call_id=call_id)).outcome(30).state is State.SUBMITTED
    assert limited.posts(call_id) == LIMIT_OF_CALL + 1


def test_old_messages_send_nothing_and_count_for_nothing(limited: SignedCluster, attacker: Attacker) -> None:
    intent = make_intent("billing")
    with limited.held_up(), limited.bench() as bench:
        transfer_id = limited.submit(None, intent)
        message = bench.write_message(transfer_id)
        attacker.send(*[message] * 20)
    assert limited.ending(transfer_id).state is State.SUBMITTED
    with limited.bench() as bench:
        wait_until(lambda: not bench.client.llen("transfers"))
        attacker.send(*[message] * 20)
        wait_until(lambda: not bench.client.exists("transfers", bench.keys.unacked))
    assert limited.posts(intent.call_id) == 1
    second = limited.submit(None, make_intent("sales", call_id=intent.call_id))
    with limited.bench() as bench:
        assert bench.client.zrange(bench.keys.limit("call", intent.call_id), 0, -1) == [transfer_id, second]


def test_many_publishers_at_once_get_no_more_through_than_one(
    limited: SignedCluster, attacker: Attacker
) -> None:
    intents = [make_intent("support") for _ in range(64)]

    def publish(own: list[TransferIntent]) -> list[str]:
        with attacker.publisher(None) as publisher:
            return [publisher.submit(intent).transfer_id for intent in own]

    with ThreadPoolExecutor(8) as pool:
        ids = [one for some in pool.map(publish, [intents[at::8] for at in range(8)]) for one in some]

    assert refused(endings(limited, ids)) == 54
    assert sum(limited.posts(intent.call_id) for intent in intents) == 10


def test_a_publisher_that_signs_is_one_requester_whatever_name_it_gives(
    limited: SignedCluster, attacker: Attacker
) -> None:
    intents = [make_intent("sales", requested_by=f"agent {number}") for number in range(12)]
    records = endings(limited, [attacker.submit(VOICE_KEY, intent) for intent in intents])
    assert sum(limited.posts(intent.call_id) for intent in intents) == 8
    assert {record.detail for record in records if record.reason is Reason.LIMIT_REACHED} == {
        "requester: 8 in 60 s are the limit"
    }


def test_limits_that_somebody_deletes_are_back_with_the_next_heartbeat(
    limited: SignedCluster, attacker: Attacker
) -> None:
    with limited.bench() as bench:
        before = bench.client.hgetall(bench.keys.limits)
        told = [line["event"] for line in bench.audit()].count("limits.set")
        with attacker.trying("lift the limits"), attacker.bench() as others:
            others.client.delete(bench.keys.limits)
        wait_until(lambda: bench.client.exists(bench.keys.limits), message="the limits are back")
        assert bench.client.hgetall(bench.keys.limits) == before
        assert [line["event"] for line in bench.audit()].count("limits.set") == told + 1
    intents = [make_intent("desk") for _ in range(5)]
    endings(limited, [limited.submit(None, intent) for intent in intents])
    assert sum(limited.posts(intent.call_id) for intent in intents) == 3


def test_who_resets_a_counter_asks_anew(limited: SignedCluster, attacker: Attacker) -> None:
    """It is among what remains; nobody else's transfers are held up by it, and none is sent twice."""
    intents = [make_intent("desk") for _ in range(5)]
    assert refused(endings(limited, [limited.submit(None, intent) for intent in intents])) == 2
    with attacker.trying("reset a limit's counter"), attacker.bench() as others:
        others.client.expire(others.keys.limit("destination", "desk"), 0)
    again = make_intent("desk")
    assert limited.ending(limited.submit(None, again)).state is State.SUBMITTED
    assert sum(limited.posts(intent.call_id) for intent in [*intents, again]) == 4
