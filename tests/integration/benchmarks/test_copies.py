"""Copies of an ended transfer have every key that it leaves, and weigh what it weighs."""

from __future__ import annotations

import uuid

import pytest
from benchmarks.parts.copies import LASTING_SECONDS, find_original, make_copies
from benchmarks.stage.leftovers import names_of, weigh_by_kind

TRANSFER, CALL = "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60", "0e2f4a5c-1111-4222-8333-444455556666"
OTHER = "99999999-8888-4777-8666-555544443333"
RAW = uuid.UUID(TRANSFER).bytes
WEEK = 7 * 24 * 3600


@pytest.fixture
def client(redis_client):
    """A keyspace with one transfer, another one, and what belongs to nobody."""
    redis_client.hset(
        f"t:record:{TRANSFER}", mapping={"call": CALL, "key": f"{CALL}:1", CALL: "1", "state": "x"}
    )
    redis_client.hset(f"t:record:{OTHER}", mapping={"call": OTHER, "state": "x"})
    redis_client.rpush(f"t:call:{CALL}", "first", TRANSFER)
    redis_client.set(f"t:key:{CALL}:1", TRANSFER)
    redis_client.sadd(b"t:bytes:" + RAW, RAW + b"!", "plain")
    redis_client.zadd(f"t:due:{uuid.UUID(TRANSFER).hex}", {TRANSFER: 5.5})
    redis_client.rpush("t:ended:495123", f"{OTHER} 1 ok", f"{TRANSFER} 2 ok")
    redis_client.zadd("t:index", {TRANSFER: 17, OTHER: 18})
    redis_client.hset("t:slice:7", mapping={TRANSFER: "packed", OTHER: "packed"})
    redis_client.set("t:nobodys", "1")
    for name in names_of(redis_client):
        redis_client.expire(name, WEEK)
    redis_client.set(f"t:limit:{CALL}", "1", ex=LASTING_SECONDS - 1)
    redis_client.xadd("t:audit", {"transfer_id": TRANSFER})
    return redis_client


def find(client):
    return find_original(client, (TRANSFER, CALL), before=set(), alike=1)


def names_like(client, pattern: bytes) -> set[bytes]:
    return set(client.scan_iter(match=pattern, count=1000))


def test_a_transfer_s_own_keys_and_those_that_it_shares_are_found(client):
    original = find(client)
    assert {of.name.split(b":")[1] for of in original.own} == {b"record", b"call", b"key", b"bytes", b"due"}
    assert {of.name for of in original.shared} == {b"t:ended:495123", b"t:index", b"t:slice:7"}


def test_what_is_soon_gone_or_has_a_limit_is_left_out_with_the_reason(client):
    assert find(client).left_out == {
        "t:limit:*": f"is gone after {LASTING_SECONDS - 1} s",
        "t:audit": "has a limit of its own",
    }


def test_each_copy_has_all_of_it_under_ids_of_its_own(client):
    make_copies(client, find(client), 3)
    records = names_like(client, b"t:record:*") - {f"t:record:{OTHER}".encode()}
    assert len(records) == 4
    for record in records:
        transfer = record.decode().removeprefix("t:record:")
        content = {name.decode(): value.decode() for name, value in client.hgetall(record).items()}
        call, raw = content["call"], uuid.UUID(transfer).bytes
        assert content == {"call": call, "key": f"{call}:1", call: "1", "state": "x"}
        assert client.lrange(f"t:call:{call}", 0, -1) == [b"first", transfer.encode()]
        assert client.get(f"t:key:{call}:1") == transfer.encode()
        assert client.smembers(b"t:bytes:" + raw) == {raw + b"!", b"plain"}
        assert client.zrange(f"t:due:{raw.hex()}", 0, -1, withscores=True) == [(transfer.encode(), 5.5)]
        assert f"{transfer} 2 ok".encode() in client.lrange("t:ended:495123", 0, -1)
        assert client.zscore("t:index", transfer) == 17
        assert client.hget("t:slice:7", transfer) == b"packed"
    assert client.llen("t:ended:495123") == 5
    assert client.zcard("t:index") == client.hlen("t:slice:7") == 5


def test_nobody_else_is_copied_and_the_original_stays(client):
    was = client.hgetall(f"t:record:{TRANSFER}")
    make_copies(client, find(client), 3)
    assert client.hgetall(f"t:record:{TRANSFER}") == was
    assert len(names_like(client, b"t:record:*")) == 1 + 1 + 3
    assert names_like(client, b"t:nobodys*") == {b"t:nobodys"}
    assert client.xlen("t:audit") == 1
    assert len(names_like(client, b"t:limit:*")) == 1


def test_copies_have_the_ttl_and_weigh_what_the_original_weighs(client):
    # Bigger than what Redis keeps packed, and back: COPY keeps how it is kept.
    record = f"t:record:{TRANSFER}"
    client.hset(record, "answer", "x" * 5000)
    client.hdel(record, "answer")
    original = find(client)
    make_copies(client, original, 50)
    weights = weigh_by_kind(client)
    own = sum(weights[kind].size_bytes for kind in ("t:call:*", "t:key:*:*", "t:bytes:*", "t:due:*"))
    own += weights["t:record:*"].size_bytes - client.memory_usage(f"t:record:{OTHER}", samples=0)
    assert own == pytest.approx(51 * original.size_bytes, rel=0.05)
    lasting = [name for name in names_of(client) if not name.startswith((b"t:limit", b"t:audit"))]
    assert min(client.ttl(name) for name in lasting) > WEEK - 60


def test_more_copies_than_one_script_makes_are_all_there(client):
    make_copies(client, find(client), 2500)
    assert len(names_like(client, b"t:call:*")) == 2501


def test_keys_that_come_with_each_transfer_and_name_none_can_not_be_copied(client):
    before = set(names_of(client))
    for number in range(3):
        client.set(f"t:digest:{number:040x}", "1", ex=WEEK)
    with pytest.raises(RuntimeError, match=r"t:digest:\* comes with each transfer"):
        find_original(client, (TRANSFER, CALL), before=before, alike=3)
    # Fewer belong to nobody in particular; nor does what was there before.
    assert find_original(client, (TRANSFER, CALL), before=before, alike=4).own
    assert find_original(client, (TRANSFER, CALL), before=set(names_of(client)), alike=3).own
