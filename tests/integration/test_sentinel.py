"""Real Sentinels, a failover under load: nothing lost, nothing doubled, and only the documented errors."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from support import wait_until
from support.cluster import Cluster, make_intent
from support.flower import read_queue_length
from support.metronome import within
from support.sentinels import MASTER_NAME, RedisGroup
from support.waiting import DEADLINE_SECONDS
from transfer_tasks.errors import (
    LedgerUnavailable,
    OutcomeTimeout,
    PublishOutcomeUnknown,
    PublishUnavailable,
    TransferNotFound,
)
from transfer_tasks.outcome import State, TransferOutcome
from transfer_tasks.publisher import AsyncTransferPublisher, TransferPublisher
from transfer_tasks.redis.connection import connect
from transfer_tasks.redis.sentinel_url import SentinelUrl
from transfer_tasks.settings import PublisherSettings
from transfer_worker.runtime.findings import Finding, Verdict
from transfer_worker.runtime.preflight import check_sentinels
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from support import ProcessSpawner
    from transfer_tasks.intent import TransferIntent

PER_SECOND = 20
EXPIRES_IN_SECONDS = 40.0
"""Longer than any failover here: what was accepted before it must be carried out after it."""

BUDGET_SECONDS = 1.0
SLACK_SECONDS = 0.5


@pytest.fixture
def group(spawn: ProcessSpawner, tmp_path: Path, request: pytest.FixtureRequest) -> RedisGroup:
    """The parameter is how many replicas there are."""
    group = RedisGroup(spawn, tmp_path, replicas=getattr(request, "param", 1))
    group.start()
    return group


@pytest.fixture
def cluster(group: RedisGroup, spawn: ProcessSpawner, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The parameter is how many replicas are waited for."""
    with SandboxServer() as sandbox:
        yield Cluster(
            redis_url=group.url(replicas=getattr(request, "param", 1)), sandbox=sandbox, spawn=spawn
        )


@dataclass
class Load:
    """Sessions that ask for a transfer, ask again where told to, and wait for the outcome."""

    publisher: AsyncTransferPublisher
    asked: list[TransferIntent] = field(default_factory=list)
    accepted_at: dict[str, float] = field(default_factory=dict)
    told: dict[str, TransferOutcome] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    is_over: bool = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as sessions:
            while not self.is_over:
                sessions.create_task(self._ask_and_wait())
                await asyncio.sleep(1 / PER_SECOND)

    async def _ask_and_wait(self) -> None:
        intent = make_intent(expires_in_seconds=EXPIRES_IN_SECONDS)
        self.asked.append(intent)
        while True:
            try:
                handle = await self.publisher.submit(intent)
                break
            except (PublishUnavailable, PublishOutcomeUnknown) as error:
                self.troubles.append(type(error).__name__)
                await asyncio.sleep(0.3)
        self.accepted_at[intent.transfer_id] = time.monotonic()
        with suppress(OutcomeTimeout):  # judged by the record
            self.told[intent.transfer_id] = await handle.outcome()

    def count_accepted_since(self, moment: float) -> int:
        return sum(at > moment for at in self.accepted_at.values())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("group", "cluster", "fault"),
    [
        pytest.param(1, 1, "killed", id="killed and brought back"),
        pytest.param(1, 1, "switched", id="switched while it lives"),
        pytest.param(2, 1, "killed", id="killed, and one of two replicas is enough"),
        pytest.param(2, 2, "switched", id="switched while it lives, and two replicas are waited for"),
    ],
    indirect=["group", "cluster"],
)
async def test_a_failover_under_load_loses_nothing_and_doubles_nothing(
    cluster: Cluster, group: RedisGroup, fault: str
) -> None:
    workers = [await asyncio.to_thread(cluster.start_worker) for _ in range(2)]
    settings = PublisherSettings(redis_url=cluster.redis_url, publish_budget_seconds=BUDGET_SECONDS)
    async with AsyncTransferPublisher(settings) as publisher:
        load = Load(publisher)
        running = asyncio.create_task(load.run())
        await asyncio.to_thread(_fail_over, group, fault, load)
        load.is_over = True
        async with asyncio.timeout(DEADLINE_SECONDS):
            await running

    assert load.accepted_at.keys() == {intent.transfer_id for intent in load.asked}, "each, in the end"
    _judge(cluster, load)
    assert load.troubles, "the failover was felt"
    assert all(worker.is_running() for worker in workers)
    # The guard against poison still stands before the new primary's queue.
    with cluster.ledger().client as client:
        client.lpush("transfers", "poison")
        wait_until(lambda: client.llen("transfer:quarantine") == 1, message="the poison is put aside")


def _fail_over(group: RedisGroup, fault: str, load: Load) -> None:
    wait_until(lambda: len(load.told) >= 2 * PER_SECOND, message="the load runs")
    old = group.primary()
    if fault == "killed":
        group.kill(old)
    else:
        group.ask_sentinel(0, "SENTINEL", "FAILOVER", MASTER_NAME)
    group.wait_for_another_primary(old)
    if fault == "killed" and group.replicas == 1:
        group.bring_back(old)  # until then no replica is there, and no step counts
    back_at = time.monotonic()
    wait_until(lambda: load.count_accepted_since(back_at) >= 3 * PER_SECOND, message="it goes on")


def _judge(cluster: Cluster, load: Load) -> None:
    ledger = cluster.ledger()
    with ledger.client:
        for intent in load.asked:
            posts = cluster.sandbox.post_count(intent.call_id)
            assert posts <= 1, f"{intent.transfer_id} was sent {posts} times"
            wait_until(
                lambda of=intent: ledger.read(of.transfer_id).outcome is not None,
                message=lambda of=intent: f"an outcome: {ledger.read(of.transfer_id)}",
            )
            record = ledger.read(intent.transfer_id)
            if record.state is State.SUBMITTED:
                assert posts == 1, record
            elif record.state is not State.UNKNOWN:
                assert posts == 0, record
            told = load.told.get(intent.transfer_id)
            assert told is None or told.state in {record.state, State.UNKNOWN}, (told, record)
            events = cluster.audit_events(intent.transfer_id)
            assert events.count("transfer.finished") == 1, events


@pytest.mark.parametrize("replicas", [0, 1], ids=["not waited for", "waited for"])
def test_what_only_the_primary_has_is_lost_with_it_unless_replicas_are_waited_for(
    cluster: Cluster, group: RedisGroup, replicas: int
) -> None:
    old, replica = group.primary(), group.a_replica()
    with cluster.publisher(
        redis_url=group.url(replicas=replicas), budget_seconds=BUDGET_SECONDS
    ) as publisher:
        publisher.submit(make_intent())
        with group.client(old.port) as client:
            client.config_set("min-replicas-to-write", 0)
            replica.process.send_signal(signal.SIGSTOP)
            client.client_kill_filter(_type="replica")
        intent = make_intent(expires_in_seconds=EXPIRES_IN_SECONDS)
        if replicas:
            with (
                within(BUDGET_SECONDS + SLACK_SECONDS),
                pytest.raises(PublishOutcomeUnknown, match="0 of 1 replicas"),
            ):
                publisher.submit(intent)
        else:
            publisher.submit(intent)
        group.kill(old)
        replica.process.send_signal(signal.SIGCONT)
        group.wait_for_another_primary(old)

        with cluster.publisher(redis_url=group.url(replicas=0)) as other, pytest.raises(TransferNotFound):
            other.handle(intent.transfer_id).outcome()
        if replicas:  # it was told that it may be lost, and asks again
            group.bring_back(old)
            group.wait_for_replicas(replica.port, 1)
            # One that has just caught up may be slower than the publisher waits; asking again is safe.
            wait_until(lambda: is_accepted(publisher, intent), message="the replica has it in time")


def is_accepted(publisher: TransferPublisher, intent: TransferIntent) -> bool:
    """Ask for it; say whether it is on record."""
    try:
        return publisher.submit(intent).transfer_id == intent.transfer_id
    except PublishOutcomeUnknown:
        return False


def test_a_step_that_found_everything_written_waits_for_the_replicas_too(
    cluster: Cluster, group: RedisGroup
) -> None:
    replica = group.a_replica()
    intent = make_intent(expires_in_seconds=EXPIRES_IN_SECONDS)
    with cluster.publisher(budget_seconds=BUDGET_SECONDS) as publisher:
        publisher.submit(make_intent())
        replica.process.send_signal(signal.SIGSTOP)
        for _ in range(2):  # the second finds the record of the first
            with pytest.raises(PublishOutcomeUnknown, match="0 of 1 replicas"):
                publisher.submit(intent)
        replica.process.send_signal(signal.SIGCONT)

        assert publisher.submit(intent).transfer_id == intent.transfer_id
    ledger = cluster.ledger()
    replica.process.send_signal(signal.SIGSTOP)
    with ledger.client, pytest.raises(LedgerUnavailable, match="0 of 1 replicas"):
        ledger.run(ledger.commands.expire(intent.transfer_id, source="test"))
    replica.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("fault", ["silent", "gone"])
def test_without_sentinels_a_publisher_is_told_so_in_time_and_a_connected_one_goes_on(
    cluster: Cluster, group: RedisGroup, fault: str
) -> None:
    with cluster.publisher() as connected, cluster.publisher(budget_seconds=BUDGET_SECONDS) as late:
        connected.submit(make_intent())
        for sentinel in group.sentinels:
            sentinel.process.send_signal(signal.SIGSTOP if fault == "silent" else signal.SIGKILL)

        connected.submit(make_intent())
        with within(BUDGET_SECONDS + SLACK_SECONDS), pytest.raises(PublishUnavailable, match="Sentinels"):
            late.submit(make_intent())


def test_one_sentinel_that_answers_is_enough(cluster: Cluster, group: RedisGroup) -> None:
    for sentinel in group.sentinels[:-1]:
        sentinel.process.send_signal(signal.SIGSTOP)
    with cluster.publisher() as publisher:
        publisher.submit(make_intent())


async def test_the_command_line_and_flower_ask_the_sentinels_too(
    cluster: Cluster, ask: Callable[..., Result]
) -> None:
    with cluster.publisher() as publisher:
        handle = publisher.submit(make_intent(expires_in_seconds=EXPIRES_IN_SECONDS))
        assert await read_queue_length(cluster.redis_url) == 1
        worker = cluster.start_worker()
        assert handle.outcome().state is State.SUBMITTED

    assert handle.transfer_id in ask("show", handle.transfer_id).stdout
    assert '"submitted"' in ask("status", "--json").stdout
    for secret in (urlsplit(cluster.redis_url).password, parse_qs(cluster.redis_url)["sentinel_password"][0]):
        assert str(secret) not in worker.output()


def test_preflight_says_what_stands_in_the_way_of_a_failover(group: RedisGroup) -> None:
    def examine(url: str) -> dict[str, Finding]:
        return {found.check: found for found in check_sentinels(SentinelUrl.parse(url), client)}

    primary, replica = group.primary(), group.a_replica()
    with connect(group.url(), timeout_seconds=1) as client:
        wait_until(
            lambda: [found.verdict for found in examine(group.url()).values()] == [Verdict.OK] * 2,
            message=lambda: f"all is well: {examine(group.url())}",
        )
        elsewhere = examine(group.url().replace(MASTER_NAME, "elsewhere"))["sentinels"]
        assert (elsewhere.verdict, elsewhere.seen) == (Verdict.PROBLEM, "none knows 'elsewhere'")

        client.config_set("min-replicas-to-write", 0)
        assert examine(group.url())["split"].seen == "min-replicas-to-write 0"

        group.kill(replica)
        with group.client(primary.port) as direct:
            wait_until(lambda: direct.info("replication")["connected_slaves"] == 0, message="it is missed")
        assert examine(group.url())["replicas"].seen == "0 of 1 follow the primary"

        group.sentinels[0].process.kill_group()
        assert "2 of 3 answer; 127.0.0.1:" in examine(group.url())["sentinels"].seen
