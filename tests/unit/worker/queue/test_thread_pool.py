"""The reader of the queue stands aside for a transfer, and never for long."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from transfer_worker.queue.thread_pool import HeadStartPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class PatientPool(HeadStartPool):
    head_start_seconds = 10.0


class ImpatientPool(HeadStartPool):
    head_start_seconds = 0.02


@pytest.fixture
def hand_over() -> Iterator[Callable[..., float]]:
    pools: list[HeadStartPool] = []

    def hand_over(pool_class: type[HeadStartPool], task: Callable[[], object]) -> float:
        """Hand a task over; return the seconds that it took."""
        pools.append(pool_class(limit=1))
        began = time.monotonic()
        pools[-1].on_apply(task, (), {})
        return time.monotonic() - began

    yield hand_over
    for pool in pools:
        pool.on_stop()


def test_the_reader_goes_on_when_the_request_is_on_its_way(hand_over):
    seen: list[str] = []

    def transfer() -> None:
        seen.append("claimed")
        HeadStartPool.end_head_start()

    assert hand_over(PatientPool, transfer) < 5
    assert seen == ["claimed"], "it stood aside until then"


def test_a_transfer_that_sends_nothing_has_its_chance_and_no_more(hand_over):
    end = threading.Event()
    try:
        assert 0.02 <= hand_over(ImpatientPool, lambda: end.wait(10)) < 5
    finally:
        end.set()


def test_a_request_that_went_out_before_gives_the_next_no_less(hand_over):
    HeadStartPool.end_head_start()
    HeadStartPool.end_head_start()
    end = threading.Event()
    try:
        assert hand_over(ImpatientPool, lambda: end.wait(10)) >= 0.02
    finally:
        end.set()
