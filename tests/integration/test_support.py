"""The tests' own tools: a check that can't fail, or a child that outlives its test, would fool us all."""

from __future__ import annotations

import sys

import pytest

from support import ProcessSpawner, has_ended, keys_without_ttl, wait_until


def test_a_key_without_a_ttl_is_found(redis_client):
    redis_client.set("transfer:1", "x", ex=60)
    redis_client.hset("transfer:2", "state", "waiting")
    redis_client.lpush("transfers:forgotten", "x")
    assert keys_without_ttl(redis_client) == ["transfer:2", "transfers:forgotten"]


def test_the_queue_needs_no_ttl(redis_client):
    redis_client.lpush("transfers", "message")
    redis_client.sadd("_kombu.binding.transfers", "x")
    redis_client.hset("transfer:unacked", "tag", "message")
    redis_client.zadd("transfer:unacked_index", {"tag": 1})
    assert keys_without_ttl(redis_client) == []


def test_each_test_finds_redis_empty(redis_client):
    assert redis_client.dbsize() == 0


def test_waiting_ends_with_the_value_or_with_the_message():
    answers = iter([None, 0, "there"])
    assert wait_until(lambda: next(answers)) == "there"
    with pytest.raises(AssertionError, match=r"^not within 0\.05 s: the condition$"):
        wait_until(lambda: False, 0.05, message="the condition")


def test_a_spawned_process_ends_with_its_group_and_shows_its_output(tmp_path, capsys):
    spawner = ProcessSpawner(tmp_path)
    child = spawner(["/bin/sh", "-c", "sleep 60 & echo grandchild $!; echo $WORD; wait"], env={"WORD": "hi"})
    grandchild = int(child.wait_for_output(r"grandchild (\d+)")[1])
    child.wait_for_output("^hi$")
    spawner.end_all()
    assert not child.is_running()
    wait_until(lambda: has_ended(grandchild), message="the grandchild is still there")
    assert "hi" in capsys.readouterr().out


def test_waiting_for_the_output_of_a_process_that_ended_fails_at_once(spawn):
    child = spawn([sys.executable, "-c", "print('only this'); raise SystemExit(3)"])
    with pytest.raises(AssertionError, match=r"ended \(3\) without 'never'(?s:.)*only this"):
        child.wait_for_output("never", deadline_seconds=30)
