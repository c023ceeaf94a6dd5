"""The fault matrix: a worker that dies or stands still at each point of a transfer. The sandbox judges."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from support import wait_until
from support.cluster import Cluster, make_intent
from transfer_tasks.outcome import Reason, State
from transfer_worker.monitoring.present import read_present

if TYPE_CHECKING:
    from pathlib import Path

    from support import SpawnedProcess
    from transfer_tasks.publisher import TransferHandle, TransferPublisher


class PausedTransfer:
    """A transfer whose worker has stopped dead at a named point, and a second worker that is well."""

    def __init__(self, cluster: Cluster, tmp_path: Path, publisher: TransferPublisher, point: str) -> None:
        self.cluster, self.file = cluster, tmp_path / "reached"
        self.sick = cluster.start_worker(
            app="support.pausing_worker", PAUSE_AT=point, PAUSE_FILE=str(self.file)
        )
        self.handle: TransferHandle = publisher.submit(make_intent(expires_in_seconds=60))
        wait_until(lambda: self.file.exists() and self.file.read_text(), message="the point is reached")
        self.well: SpawnedProcess = cluster.start_worker()

    def kill(self) -> None:
        self.sick.send_signal(signal.SIGKILL)

    def post_count(self) -> int:
        record = self.cluster.ledger().read(self.handle.transfer_id)
        assert record is not None
        return self.cluster.sandbox.post_count(record.call_id)


@pytest.mark.parametrize("point", ["before_claim", "after_claim"])
def test_a_transfer_that_was_not_sent_is_redelivered_and_sent_by_another_worker(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path, point: str
) -> None:
    paused = PausedTransfer(cluster, tmp_path, publisher, point)
    paused.kill()

    outcome = paused.handle.outcome()

    assert outcome.state is State.SUBMITTED
    # By the sweep. The visibility-timeout fallback is slower, and leaves no such line.
    assert "transfer.requeued" in cluster.audit_events(paused.handle.transfer_id)
    assert paused.post_count() == 1


@pytest.mark.parametrize(("point", "posts"), [("after_begin", 0), ("after_post", 1)])
def test_a_transfer_that_may_have_been_sent_ends_unknown_and_is_never_sent_again(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path, point: str, posts: int
) -> None:
    paused = PausedTransfer(cluster, tmp_path, publisher, point)
    paused.kill()

    outcome = paused.handle.outcome()

    assert (outcome.state, outcome.reason, outcome.source) == (State.UNKNOWN, Reason.WORKER_DIED, "recovery")
    # After the visibility timeout the well worker gets the message, too: wait until it has let go of it.
    wait_until(
        lambda: cluster.ledger().client.hlen("transfer:unacked") == 0, message="the old message is served"
    )
    assert paused.post_count() == posts


def test_a_worker_that_dies_after_settling_leaves_a_finished_transfer(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path
) -> None:
    paused = PausedTransfer(cluster, tmp_path, publisher, "after_settle")
    paused.kill()

    assert paused.handle.outcome().state is State.SUBMITTED
    wait_until(
        lambda: cluster.ledger().client.hlen("transfer:unacked") == 0, message="the old message is served"
    )
    assert paused.post_count() == 1
    assert cluster.audit_events(paused.handle.transfer_id).count("transfer.finished") == 1


@pytest.mark.parametrize("point", ["before_claim", "after_claim"])
def test_a_paused_worker_that_wakes_up_finds_its_transfer_done_by_another(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path, point: str
) -> None:
    paused = PausedTransfer(cluster, tmp_path, publisher, point)

    assert paused.handle.outcome().state is State.SUBMITTED
    paused.sick.send_signal(signal.SIGCONT)
    paused.sick.send_signal(signal.SIGTERM)
    assert paused.sick.wait() == 0

    assert paused.post_count() == 1


def test_a_worker_paused_before_the_request_does_not_send_it_when_it_wakes_up(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path
) -> None:
    paused = PausedTransfer(cluster, tmp_path, publisher, "after_begin")
    assert paused.handle.outcome().state is State.UNKNOWN

    paused.sick.send_signal(signal.SIGCONT)

    record = wait_until(
        lambda: (
            (found := cluster.ledger().read(paused.handle.transfer_id))
            and found.state is not State.UNKNOWN
            and found
        ),
        message="the late truth is on record",
    )
    assert (record.state, record.reason) == (State.FAILED, Reason.NOT_SENT)
    assert paused.post_count() == 0
    events = cluster.audit_events(paused.handle.transfer_id)
    assert events[-2:] == ["transfer.finished", "transfer.resolved"]


def test_an_answer_that_comes_late_turns_unknown_into_what_really_happened(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path
) -> None:
    paused = PausedTransfer(cluster, tmp_path, publisher, "after_post")
    assert paused.handle.outcome().state is State.UNKNOWN

    paused.sick.send_signal(signal.SIGCONT)

    wait_until(
        lambda: cluster.ledger().read(paused.handle.transfer_id).state is State.SUBMITTED,
        message="the late answer is on record",
    )
    assert paused.post_count() == 1
    events = cluster.audit_events(paused.handle.transfer_id)
    assert events[-2:] == ["transfer.finished", "transfer.resolved"]
    present = read_present(cluster.ledger())
    assert (present.totals["double_posts"], present.double_posts) == (0, ()), "one request is no double"


def test_two_requests_that_both_moved_a_call_are_counted_once_and_named(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path
) -> None:
    """A person errs about the first one, whose worker stands still, and asks again."""
    paused = PausedTransfer(cluster, tmp_path, publisher, "after_post")
    assert paused.handle.outcome().state is State.UNKNOWN
    first, ledger = paused.handle.transfer_id, cluster.ledger()
    call_id = ledger.read(first).call_id
    ledger.run(ledger.commands.resolve(first, transferred=False, source="operator", detail="ana: no call"))
    again = publisher.submit(make_intent(call_id=call_id, expires_in_seconds=60))
    assert again.outcome().state is State.SUBMITTED
    assert read_present(ledger).double_posts == ()

    paused.sick.send_signal(signal.SIGCONT)

    (double,) = wait_until(lambda: read_present(ledger).double_posts, message="the late answer is on record")
    assert (double.call_id, double.transfers) == (call_id, (first, again.transfer_id))
    assert paused.post_count() == 2
    assert read_present(ledger).totals["double_posts"] == 1


def test_a_lone_worker_recovers_what_its_predecessor_had_not_sent(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path
) -> None:
    file = tmp_path / "reached"
    sick = cluster.start_worker(app="support.pausing_worker", PAUSE_AT="after_claim", PAUSE_FILE=str(file))
    handle = publisher.submit(make_intent(expires_in_seconds=60))
    wait_until(lambda: file.exists() and file.read_text(), message="the point is reached")
    sick.send_signal(signal.SIGKILL)
    sick.wait()

    cluster.start_worker()

    assert handle.outcome().state is State.SUBMITTED
    assert "transfer.requeued" in cluster.audit_events(handle.transfer_id)


def test_the_visibility_timeout_alone_gives_a_dead_workers_message_to_another(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path
) -> None:
    file = tmp_path / "reached"
    # Long enough for kombu's note of the message, which comes 0.5 s after the handover (deliveries.py).
    pause = {"PAUSE_AT": "before_claim", "PAUSE_DELAY_SECONDS": "1.0", "PAUSE_FILE": str(file)}
    sick = cluster.start_worker(app="support.pausing_worker", **pause)
    handle = publisher.submit(make_intent(expires_in_seconds=60))
    wait_until(lambda: file.exists() and file.read_text(), message="the point is reached")
    assert cluster.ledger().client.hlen("transfer:unacked") == 1
    sick.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    cluster.start_worker(app="support.sweepless_worker")

    assert handle.outcome().state is State.SUBMITTED
    assert time.monotonic() - killed_at > 5.0
    assert "transfer.requeued" not in cluster.audit_events(handle.transfer_id)
