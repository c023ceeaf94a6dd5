"""Every signal, to the supervisor, its child, and a worker without a supervisor: what it does, what stays.

The table is in docs/on-call.md, "What does a signal do?".
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

import pytest

from support import has_ended, wait_until
from support.cluster import Cluster, make_intent
from support.kinship import children
from support.ports import pick_free_port
from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import SpawnedProcess
    from transfer_tasks.publisher import TransferHandle, TransferPublisher

GRACEFUL = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
NAME = attrgetter("name")
TARGETS = ["supervisor", "child", "alone"]


@dataclass
class Started:
    """A worker, and who of it a signal goes to.

    Attributes:
        top: What was started: the supervisor, or the worker that has none.
        to: Which process the signals go to.
        seen: Every process of it that was ever found.
    """

    top: SpawnedProcess
    to: str
    seen: set[int] = field(default_factory=set)

    def carrier(self) -> int:
        """Return the process id of the one that carries transfers out; 0 while there is none."""
        found = [self.top.pid] if self.to == "alone" else children(self.top.pid)
        self.seen.update(found)
        return found[0] if found else 0

    def signal(self, *numbers: signal.Signals) -> None:
        target = self.carrier() if self.to == "child" else self.top.pid
        for number in numbers:
            os.kill(target, number)

    def await_ready(self, times: int = 1) -> None:
        wait_until(lambda: self.top.output().count(" ready.") >= times, message=self.top.output)
        self.carrier()

    def explanations(self) -> list[str]:
        """Return why the supervisor says that its children ended."""
        lines = [json.loads(line) for line in self.top.output().splitlines() if line.startswith("{")]
        return [line["why"] for line in lines if line["event"] == "worker.restarted"]

    def kill(self) -> None:
        """End what was started by SIGKILL, and wait until all that ever belonged to it is gone."""
        self.carrier()
        self.top.send_signal(signal.SIGKILL)
        self.top.wait()
        self.await_gone()

    def await_gone(self) -> None:
        wait_until(lambda: all(map(has_ended, self.seen)), message=f"gone: {self.seen}")


@pytest.fixture
def start(cluster: Cluster) -> Iterator[Callable[..., Started]]:
    """Start a worker, by default until it is ready; `ignoring` signals as a shell's `trap` has it."""
    started: list[Started] = []

    def start(to: str, *, ignoring: str = "", is_ready: bool = True, **environment: str) -> Started:
        command = (
            ["-m", "celery", "-A", "transfer_worker", "worker", "-c", "2", "-n", "alone@test"]
            if to == "alone"
            else ["-m", "transfer_worker", "worker", "-c", "2"]
        )
        top = cluster.spawn(
            ["sh", "-c", f'trap "" {ignoring}; exec "$@"' if ignoring else 'exec "$@"', "sh",
             sys.executable, *command],
            env=cluster.worker_environment() | environment,
            name=to,
        )  # fmt: skip
        worker = Started(top, to)
        started.append(worker)
        if is_ready:
            worker.await_ready()
        return worker

    yield start
    for worker in started:
        for pid in worker.seen:
            if not has_ended(pid):
                os.kill(pid, signal.SIGKILL)


def submit_in_flight(cluster: Cluster, publisher: TransferPublisher, fault: str) -> TransferHandle:
    """Submit a transfer, and wait until its POST is out and not answered."""
    intent = make_intent(expires_in_seconds=60)
    cluster.sandbox.controls.script(intent.call_id, [fault])
    handle = publisher.submit(intent)
    wait_until(lambda: cluster.sandbox.post_count(intent.call_id) == 1)
    return handle


def assert_works_on(worker: Started, publisher: TransferPublisher, before: int) -> None:
    """Whoever carries transfers out is the same as before, and does."""
    assert publisher.submit(make_intent(expires_in_seconds=60)).outcome().state is State.SUBMITTED
    assert worker.carrier() == before
    assert worker.top.is_running()


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("number", GRACEFUL, ids=NAME)
def test_it_lets_the_transfer_in_flight_finish_and_nothing_stays(
    cluster: Cluster,
    publisher: TransferPublisher,
    start: Callable[..., Started],
    to: str,
    number: signal.Signals,
) -> None:
    worker = start(to)
    before = worker.carrier()
    handle = submit_in_flight(cluster, publisher, "slow:1")

    worker.signal(number)

    if to == "child":
        worker.await_ready(times=2)
        assert worker.explanations() == [f"asked to stop by {number.name}"]
        assert worker.carrier() != before
        assert has_ended(before)
    else:
        assert worker.top.wait() == 0
        worker.await_gone()
        assert not cluster.ledger().client.keys("transfer:worker:*")  # it took its leave
    assert handle.outcome().state is State.SUBMITTED
    assert len(cluster.sandbox.requests()) == 1
    assert "Traceback" not in worker.top.output()
    worker.kill()


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL], ids=NAME)
def test_it_ends_the_process_at_once_and_nothing_stays(
    cluster: Cluster,
    publisher: TransferPublisher,
    start: Callable[..., Started],
    to: str,
    number: signal.Signals,
) -> None:
    worker = start(to)
    before = worker.carrier()
    handle = submit_in_flight(cluster, publisher, "silence")

    worker.signal(number)

    if to == "child":
        worker.await_ready(times=2)
        how = "ended at once by" if number == signal.SIGQUIT else "ended by"
        assert worker.explanations() == [f"{how} {number.name}"]
    else:
        assert worker.top.wait() == (1 if number == signal.SIGQUIT else -number)
        worker.await_gone()
        start("alone")
    assert has_ended(before)
    assert handle.outcome().state is State.UNKNOWN
    assert len(cluster.sandbox.requests()) == 1
    worker.kill()


@pytest.mark.parametrize("to", TARGETS)
def test_sigusr1_shows_the_stack_of_every_thread_and_the_work_goes_on(
    publisher: TransferPublisher, start: Callable[..., Started], to: str
) -> None:
    worker = start(to)
    before = worker.carrier()
    worker.signal(signal.SIGUSR1)
    worker.top.wait_for_output(r"(?s)Thread 0x.*recovery\.py.*Current thread 0x")
    assert_works_on(worker, publisher, before)
    worker.kill()


@pytest.mark.parametrize("to", TARGETS)
def test_sigusr2_does_nothing_even_where_celery_would_open_a_debugger(
    publisher: TransferPublisher, start: Callable[..., Started], to: str
) -> None:
    worker = start(to, CELERY_RDBSIG="1")
    before = worker.carrier()
    worker.signal(signal.SIGUSR2)
    assert_works_on(worker, publisher, before)
    worker.kill()


@pytest.mark.parametrize("to", TARGETS)
def test_what_was_ignored_at_the_start_stays_ignored(
    publisher: TransferPublisher, start: Callable[..., Started], to: str
) -> None:
    worker = start(to, ignoring="HUP INT QUIT USR1")
    before = worker.carrier()
    worker.signal(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1)
    assert_works_on(worker, publisher, before)
    assert "Thread 0x" not in worker.top.output()
    worker.kill()


def test_a_supervisor_that_ignores_sigterm_stops_its_children_all_the_same(
    start: Callable[..., Started],
) -> None:
    worker = start("supervisor", ignoring="TERM")
    worker.signal(signal.SIGTERM, signal.SIGINT)
    assert worker.top.wait() == 0
    worker.await_gone()


def test_a_service_manager_may_tell_all_processes_and_more_than_once(
    cluster: Cluster, publisher: TransferPublisher, start: Callable[..., Started]
) -> None:
    # As systemd does: to everything in the control group. Then the supervisor tells its child.
    worker = start("supervisor")
    handle = submit_in_flight(cluster, publisher, "slow:1")
    os.kill(worker.carrier(), signal.SIGTERM)
    worker.signal(signal.SIGTERM)
    assert worker.top.wait() == 0
    assert handle.outcome().state is State.SUBMITTED
    worker.await_gone()


def test_sigterm_is_graceful_however_often_and_whatever_celery_is_told_to_make_of_it(
    cluster: Cluster, publisher: TransferPublisher, start: Callable[..., Started]
) -> None:
    worker = start("alone", REMAP_SIGTERM="SIGQUIT")
    handle = submit_in_flight(cluster, publisher, "slow:1")
    worker.signal(signal.SIGTERM, signal.SIGTERM, signal.SIGTERM)
    assert worker.top.wait() == 0
    assert handle.outcome().state is State.SUBMITTED


def test_a_second_ctrl_c_ends_a_worker_without_a_supervisor_at_once(
    cluster: Cluster, publisher: TransferPublisher, start: Callable[..., Started]
) -> None:
    worker = start("alone")
    submit_in_flight(cluster, publisher, "silence")
    worker.signal(signal.SIGINT)
    worker.top.wait_for_output("worker.stopping")
    worker.signal(signal.SIGINT)
    assert worker.top.wait() == 1


@pytest.mark.parametrize("to", ["supervisor", "alone"])
@pytest.mark.parametrize("number", [*GRACEFUL, signal.SIGQUIT], ids=NAME)
def test_a_worker_that_waits_for_redis_ends_at_once(
    start: Callable[..., Started], to: str, number: signal.Signals
) -> None:
    worker = start(to, is_ready=False, TRANSFER_REDIS_URL=f"redis://127.0.0.1:{pick_free_port()}/0")
    worker.top.wait_for_output("preflight.waiting")
    worker.carrier()
    worker.signal(number)
    assert worker.top.wait() == (1 if number == signal.SIGQUIT else 0)
    worker.await_gone()
    assert "Traceback" not in worker.top.output()
