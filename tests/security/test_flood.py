"""Attempts to hold others up, to fill Redis, and to raise alarms, by requests that nobody can carry out."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from support import wait_until
from support.attackers import log_in
from support.cluster import make_intent
from support.own_cluster import open_cluster
from support.signing import CRM_KEY, REGISTRY, STRANGE_KEY, VOICE_KEY, SignedCluster
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.message import build_message
from transfer_tasks.redis.connection import connect
from transfer_tasks.signature import Written, parse_signing_key
from transfer_worker.queue.transport import EVENT_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.attackers import Attacker
    from transfer_tasks.intent import TransferIntent
    from transfer_worker.roles import Role

HOUR_SECONDS = 3600
FLOOD, FLOOD_OF_A_ROLE = 600, 200


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedCluster]:
    """One worker without keys for the whole module."""
    with open_cluster(tmp_path_factory.mktemp("unsigned"), registry=REGISTRY) as cluster:
        yield SignedCluster(cluster, cluster.start_worker())


class SlotsSeen:
    """What Celery tells Flower: each message that takes a slot."""

    def __init__(self, signed: SignedCluster) -> None:
        self._client = connect(signed.cluster.redis_url, timeout_seconds=30)
        self._listener = self._client.pubsub(ignore_subscribe_messages=True)
        self._listener.psubscribe(f"*{EVENT_EXCHANGE}*")

    def count_of(self, ids: list[str]) -> int:
        """Return how many of these have taken a slot by now."""
        told: list[str] = []
        while (event := self._listener.get_message(timeout=1)) or not told:
            if event:
                told.append(base64.b64decode(json.loads(event["data"])["body"]).decode())
        self._listener.close()
        self._client.close()
        whole = "".join(told)
        return sum(one in whole for one in ids)


def bare(transfer_id: str, *, copy: Written | None = None, **headers: Any) -> str:
    """Return a notification of a transfer that is on no record."""
    written = copy or Written("")
    message = json.loads(
        build_message(
            transfer_id=transfer_id,
            call_id=str(uuid.uuid4()),
            labels={"destination": "support"},
            queue="transfers",
            written=written,
        )
    )
    message["headers"] |= headers
    return json.dumps(message)


def count_takes(signed: SignedCluster) -> int:
    """Return how often anybody has asked for the next message until now."""
    with signed.bench() as bench:
        said: Any = bench.client.info("commandstats")
    return int(said.get("cmdstat_brpop", {"calls": 0})["calls"])


def sign(intent: TransferIntent, key: str) -> Written:
    return parse_signing_key(key).sign(intent.to_json())


@pytest.mark.parametrize("kind", ["invalid", "made up", "unsigned"])
def test_a_flood_of_what_is_refused_takes_no_slots_and_each_has_its_record_and_line(
    signed: SignedCluster, unsigned: SignedCluster, role: Role | None, kind: str
) -> None:
    of = signed if kind == "unsigned" else unsigned
    attacker, size = log_in(of, role), FLOOD_OF_A_ROLE if role else FLOOD
    ids = [str(uuid.uuid4()) for _ in range(size)]
    asked = {
        "call_id": str(uuid.uuid4()),
        "destination": "support" if kind == "unsigned" else "no such name!",
    }
    seen = SlotsSeen(of)
    before = count_takes(of)
    with of.held_up():
        if kind == "made up":
            attacker.send(*(bare(one) for one in ids))
        else:
            for one in ids:
                attacker.push(one, asked=asked)
        intent = make_intent("support")
        transfer_id = of.submit(VOICE_KEY if kind == "unsigned" else None, intent)
    assert of.ending(transfer_id).state is State.SUBMITTED
    assert of.posts(intent.call_id) == 1
    assert of.posts(asked["call_id"]) == 0
    reason = Reason.SIGNATURE_INVALID if kind == "unsigned" else Reason.INVALID_INTENT
    with of.bench() as bench:
        told = [line["transfer_id"] for line in bench.audit() if line.get("reason") == reason]
        assert set(ids) <= set(told)
        assert {bench.record(one).state for one in ids} == {State.REJECTED}
    assert seen.count_of(ids) <= FLOOD // 4
    assert count_takes(of) - before <= FLOOD // 4, "each was taken by itself: who comes behind them waits"


@pytest.mark.parametrize("by", ["celery", "publisher"])
def test_a_flood_of_what_the_rules_forbid_takes_no_slots_either(
    unsigned: SignedCluster, role: Role | None, by: str
) -> None:
    """A publisher without a registry can't know; what it has accepted ends in one step."""
    attacker, size = log_in(unsigned, role), FLOOD_OF_A_ROLE if role else FLOOD
    forbidden = [make_intent("nowhere") for _ in range(size)]
    seen = SlotsSeen(unsigned)
    with unsigned.held_up():
        with attacker.publisher(None) as publisher:
            for intent in forbidden:
                if by == "publisher":
                    publisher.submit(intent)
                else:
                    attacker.push(intent.transfer_id, asked=json.loads(intent.to_json()))
        good = make_intent("support")
        unsigned.submit(None, good)
    assert unsigned.ending(good.transfer_id).state is State.SUBMITTED
    ids = [intent.transfer_id for intent in forbidden]
    with unsigned.bench() as bench:
        told = [line["transfer_id"] for line in bench.audit() if line.get("reason") == "unknown_destination"]
        assert sorted(set(ids) & set(told)) == sorted(ids)
        assert len(told) == len(set(told))
        records = [bench.record(one) for one in ids]
        assert {(record.state, record.reason) for record in records} == {
            (State.REJECTED, Reason.UNKNOWN_DESTINATION)
        }
        assert not bench.index("waiting")
    assert sum(unsigned.posts(intent.call_id) for intent in forbidden) == 0
    assert seen.count_of(ids) <= FLOOD // 4


def test_a_record_with_another_intent_is_not_ended_by_what_a_message_says(unsigned: SignedCluster) -> None:
    with unsigned.bench() as bench:
        good, other = make_intent("support"), make_intent("nowhere")
        with unsigned.held_up():
            unsigned.submit(None, good)
            command = bench.ledger.commands.forbid(
                good.transfer_id, judged=other.to_json(), reason=Reason.UNKNOWN_DESTINATION, detail="x"
            )
            assert bench.ledger.run(command) is None
    assert unsigned.ending(good.transfer_id).state is State.SUBMITTED


def test_records_of_refusals_are_gone_within_an_hour(unsigned: SignedCluster, role: Role | None) -> None:
    invalid, made_up = str(uuid.uuid4()), str(uuid.uuid4())
    attacker = log_in(unsigned, role)
    attacker.push(invalid, asked={"destination": "support"})
    attacker.send(bare(made_up))
    for one in (invalid, made_up):
        unsigned.ending(one)
        with unsigned.bench() as bench:
            ttl: Any = bench.client.ttl(bench.keys.record(one))
        assert 0 < ttl <= HOUR_SECONDS


def assert_ended(signed: SignedCluster, transfer_id: str, state: State, reason: Reason) -> None:
    record = signed.ending(transfer_id)
    assert (record.state, record.reason) == (state, reason)
    with signed.bench() as bench:
        assert (transfer_id in bench.index("unknown")) == (state is State.UNKNOWN)


@pytest.mark.parametrize("copy", ["", "x", "{}", "[]", '{"destination": "support"}'])
def test_a_made_up_id_is_no_alarm(unsigned: SignedCluster, role: Role | None, copy: str) -> None:
    transfer_id = str(uuid.uuid4())
    log_in(unsigned, role).send(bare(transfer_id, copy=Written(copy)))
    assert_ended(unsigned, transfer_id, State.REJECTED, Reason.INVALID_INTENT)


def test_an_id_beside_anothers_intent_is_no_alarm(unsigned: SignedCluster, role: Role | None) -> None:
    transfer_id = str(uuid.uuid4())
    log_in(unsigned, role).send(bare(transfer_id, copy=Written(make_intent("support").to_json())))
    assert_ended(unsigned, transfer_id, State.REJECTED, Reason.INVALID_INTENT)


def test_a_redis_that_has_lost_a_record_is_not_hidden(unsigned: SignedCluster, role: Role | None) -> None:
    intent = make_intent("support")
    log_in(unsigned, role).send(bare(intent.transfer_id, copy=Written(intent.to_json())))
    assert_ended(unsigned, intent.transfer_id, State.UNKNOWN, Reason.RECORD_MISSING)
    assert unsigned.posts(intent.call_id) == 0


@pytest.mark.parametrize("key", [VOICE_KEY, CRM_KEY])
def test_with_keys_only_a_verified_copy_says_that_redis_has_lost_a_record(
    signed: SignedCluster, attacker: Attacker, key: str
) -> None:
    intent = make_intent("billing")  # beyond the second key's names: it is its words all the same
    attacker.send(bare(intent.transfer_id, copy=sign(intent, key)))
    assert_ended(signed, intent.transfer_id, State.UNKNOWN, Reason.RECORD_MISSING)
    assert signed.posts(intent.call_id) == 0


@pytest.mark.parametrize("key", [None, STRANGE_KEY])
def test_with_keys_a_copy_that_nobody_has_signed_is_no_alarm(
    signed: SignedCluster, attacker: Attacker, key: str | None
) -> None:
    intent = make_intent("support")
    copy = sign(intent, key) if key else Written(intent.to_json())
    attacker.send(bare(intent.transfer_id, copy=copy))
    assert_ended(signed, intent.transfer_id, State.REJECTED, Reason.SIGNATURE_INVALID)
    assert signed.posts(intent.call_id) == 0


def test_the_slots_are_back_after_a_flood(unsigned: SignedCluster) -> None:
    for _ in range(3):
        intent = make_intent("support")
        assert unsigned.ending(unsigned.submit(None, intent)).state is State.SUBMITTED
        assert wait_until(lambda of=intent: unsigned.posts(of.call_id) == 1)
