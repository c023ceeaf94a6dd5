"""What a connection may still do when its time is over, and what the stages prove."""

from __future__ import annotations

import socket
import time

import pytest

from transfer_worker.gateway.exchange import LAST_LOOK_SECONDS, MAX_ANSWER_BYTES, Exchange, Stage
from transfer_worker.gateway.reading import TimedReader


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_an_overdue_exchange_does_not_begin_to_write():
    exchange = Exchange(timeout_seconds=0)
    with pytest.raises(TimeoutError):
        exchange.enter(Stage.WRITING)
    assert exchange.stage is Stage.HELD_UP


def test_the_first_byte_has_a_deadline_of_its_own():
    exchange = Exchange(timeout_seconds=10, write_within_seconds=0)
    with pytest.raises(TimeoutError):
        exchange.enter(Stage.CONNECTING)
    assert exchange.stage is Stage.HELD_UP


def test_what_began_in_time_is_written_to_its_end():
    exchange = Exchange(timeout_seconds=10, write_within_seconds=0.02)
    exchange.enter(Stage.WRITING)
    while exchange.seconds_to_connect() > 0:
        time.sleep(0.005)
    exchange.enter(Stage.WRITING)
    assert exchange.stage is Stage.WRITING


def test_an_answer_that_waits_is_read_even_when_the_time_is_over(pair):
    near, far = pair
    far.sendall(b"HTTP/1.1 200 OK")
    with TimedReader(near, Exchange(timeout_seconds=0)) as reader:
        assert reader.read(15) == b"HTTP/1.1 200 OK"


def test_the_last_look_is_short_and_happens_once(pair):
    near, _far = pair
    with TimedReader(near, Exchange(timeout_seconds=0)) as reader:
        with pytest.raises(TimeoutError):
            reader.read(1)
        assert near.gettimeout() == LAST_LOOK_SECONDS
        with pytest.raises(TimeoutError):
            reader.read(1)


def test_an_answer_without_end_is_cut_off():
    exchange = Exchange(timeout_seconds=10)
    exchange.note_received(memoryview(bytes(MAX_ANSWER_BYTES)))
    with pytest.raises(OSError, match="longer"):
        exchange.note_received(memoryview(b"x"))
