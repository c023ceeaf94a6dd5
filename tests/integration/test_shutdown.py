"""Stopping and rolling: what is in flight finishes, nothing is lost or doubled, nobody waits for long."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

from support import wait_until
from support.cluster import Cluster, make_intent
from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from transfer_tasks.publisher import TransferHandle, TransferPublisher

SLOW_NUMBER = "+1 202 555 0101"
"""The sandbox answers after two seconds."""


def submit_slow(cluster: Cluster, publisher: TransferPublisher, count: int) -> list[TransferHandle]:
    """Submit transfers and wait until the POST of each is out."""
    handles = [publisher.submit(make_intent(SLOW_NUMBER, expires_in_seconds=60)) for _ in range(count)]
    wait_until(lambda: len(cluster.sandbox.requests()) == count, message="all POSTs are out")
    return handles


def test_sigterm_lets_transfers_in_flight_finish(cluster: Cluster, publisher: TransferPublisher) -> None:
    worker = cluster.start_supervised("worker")
    handles = submit_slow(cluster, publisher, 4)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait() == 0
    assert [handle.outcome().state for handle in handles] == [State.SUBMITTED] * 4
    assert len(cluster.sandbox.requests()) == 4


def test_a_second_sigterm_ends_at_once_and_nothing_is_sent_again(
    cluster: Cluster, publisher: TransferPublisher
) -> None:
    worker = cluster.start_supervised("worker")
    handles = submit_slow(cluster, publisher, 2)

    worker.send_signal(signal.SIGTERM)
    worker.wait_for_output("worker.stopping")
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    ledger = cluster.ledger()
    with ledger.client:  # it did not wait for the answers
        records = [ledger.read(handle.transfer_id) for handle in handles]
    assert [record and record.state for record in records] == [State.SENDING] * 2

    cluster.start_supervised("successor")
    assert [handle.outcome().state for handle in handles] == [State.UNKNOWN] * 2
    assert len(cluster.sandbox.requests()) == 2


def test_what_waits_behind_a_stopping_worker_goes_to_another_at_once(
    cluster: Cluster, publisher: TransferPublisher
) -> None:
    worker = cluster.start_supervised("first")
    submit_slow(cluster, publisher, 4)
    waiting = [publisher.submit(make_intent(expires_in_seconds=60)) for _ in range(8)]
    cluster.start_supervised("second")
    worker.send_signal(signal.SIGTERM)

    assert {handle.outcome().state for handle in waiting} == {State.SUBMITTED}
    assert worker.wait() == 0
    assert len(cluster.sandbox.requests()) == 12


def test_a_rolling_restart_under_load_loses_doubles_and_leaves_nothing(
    cluster: Cluster,
) -> None:
    workers = [cluster.start_supervised(f"old{number}") for number in range(2)]
    handles: list[TransferHandle] = []
    stop = threading.Event()

    def load(publisher: TransferPublisher) -> None:
        while not stop.wait(0.05):
            handles.append(publisher.submit(make_intent(expires_in_seconds=30)))

    with cluster.publisher() as publisher:
        thread = threading.Thread(target=load, args=(publisher,))
        thread.start()
        for number, worker in enumerate(workers):
            cluster.start_supervised(f"new{number}")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait() == 0
        stop.set()
        thread.join()
        assert {handle.outcome().state for handle in handles} == {State.SUBMITTED}

    assert len(cluster.sandbox.requests()) == len(handles) > 20
    # What the old ones had fetched ahead they gave back: nothing had to wait for a sweep.
    events = Counter(event for handle in handles for event in cluster.audit_events(handle.transfer_id))
    assert events["transfer.requeued"] == 0
