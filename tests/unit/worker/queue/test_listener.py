"""How a worker finds out that nobody speaks any more on the line of the remote control."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import redis

from transfer_worker.queue.transport import _GuardedClient


@pytest.fixture
def asked():
    return []


@pytest.fixture
def listener(asked):
    listener = _GuardedClient(connection_pool=redis.ConnectionPool()).pubsub()
    listener.connection = SimpleNamespace(
        health_check_interval=1, next_health_check=0, send_command=lambda *words, **_: asked.append(words[0])
    )
    yield listener
    listener.connection = None


def test_it_asks_once_each_time_whoever_reads_the_answer(listener, asked):
    listener.check_health()  # kombu's timer
    listener.check_health()  # reading the answer
    assert asked == ["PING"]


def test_it_counts_each_question_that_nobody_answers(listener, asked):
    for _ in range(3):  # kombu then drops the connection
        listener.check_health()
        listener._asked_at -= 1
    assert listener.health_check_response_counter == len(asked) == 3
