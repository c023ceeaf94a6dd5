"""Stopping and rolling: what is in flight finishes, nothing is lost or doubled, nobody waits for long."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

from support import wait_until
from support.house import House, make_intent
from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from transfer_tasks.publisher import TransferHandle, TransferPublisher

SLOW_NUMBER = "+1 202 555 0101"
"""The sandbox answers after two seconds."""


def submit_slow(house: House, publisher: TransferPublisher, count: int) -> list[TransferHandle]:
    """Submit transfers and wait until the POST of each is out."""
    handles = [publisher.submit(make_intent(SLOW_NUMBER, expires_in_seconds=60)) for _ in range(count)]
    wait_until(lambda: len(house.sandbox.requests()) == count, message="all POSTs are out")
    return handles


def test_sigterm_lets_transfers_in_flight_finish(house: House, publisher: TransferPublisher) -> None:
    worker = house.start_supervised("worker")
    handles = submit_slow(house, publisher, 4)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait() == 0
    assert [handle.outcome().state for handle in handles] == [State.SUBMITTED] * 4
    assert len(house.sandbox.requests()) == 4


def test_a_second_sigterm_ends_at_once_and_nothing_is_sent_again(
    house: House, publisher: TransferPublisher
) -> None:
    worker = house.start_supervised("worker")
    handles = submit_slow(house, publisher, 2)

    worker.send_signal(signal.SIGTERM)
    time.sleep(0.2)  # the first one has arrived; the requests take two seconds
    second_at = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    assert time.monotonic() - second_at < 1.0

    house.start_supervised("successor")
    assert [handle.outcome().state for handle in handles] == [State.UNKNOWN] * 2
    assert len(house.sandbox.requests()) == 2


def test_what_waits_behind_a_stopping_worker_goes_to_another_at_once(
    house: House, publisher: TransferPublisher
) -> None:
    worker = house.start_supervised("first")
    submit_slow(house, publisher, 4)
    waiting = [publisher.submit(make_intent(expires_in_seconds=60)) for _ in range(8)]
    house.start_supervised("second")
    worker.send_signal(signal.SIGTERM)

    assert {handle.outcome().state for handle in waiting} == {State.SUBMITTED}
    assert worker.wait() == 0
    assert len(house.sandbox.requests()) == 12


def test_a_rolling_restart_under_load_loses_doubles_and_delays_nothing(house: House) -> None:
    workers = [house.start_supervised(f"old{number}") for number in range(2)]
    submitted_at: dict[str, float] = {}
    handles: list[TransferHandle] = []
    stop = threading.Event()

    def load(publisher: TransferPublisher) -> None:
        while not stop.wait(0.05):
            intent = make_intent(expires_in_seconds=30)
            submitted_at[intent.call_id] = time.time()
            handles.append(publisher.submit(intent))

    with house.publisher() as publisher:
        thread = threading.Thread(target=load, args=(publisher,))
        thread.start()
        for number, worker in enumerate(workers):
            house.start_supervised(f"new{number}")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait() == 0
        stop.set()
        thread.join()
        assert {handle.outcome().state for handle in handles} == {State.SUBMITTED}

    posts = house.sandbox.requests()
    assert len(posts) == len(handles) > 20
    delays = [post["received_at_ms"] / 1000 - submitted_at[post["call_id"]] for post in posts]
    assert max(delays) < 1.0
