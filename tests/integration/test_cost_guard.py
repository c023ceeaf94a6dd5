"""What a transfer may cost, in counts: they are the same on every machine, however busy."""

from __future__ import annotations

import gc
import socket
import tracemalloc
import uuid
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from support import wait_until
from support.cluster import make_intent
from support.ledger_bench import LedgerBench
from support.publishing import make_settings, waiting_for
from support.signing import VOICE_KEY
from transfer_tasks.ledger.keys import Keys
from transfer_tasks.ledger.script import load_script
from transfer_tasks.ledger.verdicts import Claim, Ended
from transfer_tasks.publisher import AsyncTransferPublisher, TransferPublisher, looking
from transfer_tasks.redis.connection import connect
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from support.cluster import Cluster

STEPS = ("accept", "claim", "end_attempt")
"""The scripts that one transfer runs; each is one round trip. One lies between the message and the POST."""

SESSIONS_STEPS = ("expire", "cancel")
"""What a session asks while it waits: `expire` is the look at a record; and how this one's transfer ends."""

COMMANDS_WITHIN = {"accept": 14, "claim": 6, "end_attempt": 8}
"""What each may do inside Redis, where every transfer of the cluster waits in one line.

In the usual case, which is written out (ledger/scripts/usual), beside a worker whose heartbeats renew what
all share. One of `accept` is an EXPIRE that it needs where nothing else is open. All fields of a record that
a step changes are one HSET, and a step reads a record once. One of `accept` and of `end_attempt` is the note
of what they count; who asks is counted at once.
"""

AOF_BYTES_WITHIN = 5600
"""What the three steps of a transfer write to the file of Redis, the message included."""

TRANSFERS = 10

IDLE_ROUND_TRIPS = 6
"""What an idle process may ask of Redis in a second; what goes out together counts once.

Two heartbeats, each with its sweep; a BRPOP, a word on the line of the remote control and a look at the
outbox, each of which notices a silent line; now and then Flower's heartbeat, and a look for abandoned lines.
"""

IDLE_SECONDS = 10


class Monitor:
    """What Redis is asked, in order, as MONITOR tells it."""

    def __init__(self, redis_url: str) -> None:
        url = urlsplit(redis_url)
        self._socket = socket.create_connection((url.hostname, url.port), timeout=5)
        if url.password:
            self._socket.sendall(f"AUTH {url.password}\r\n".encode())
        self._socket.sendall(b"MONITOR\r\n")
        self._received = b""
        self._read_until(b"+OK\r\n" * (2 if url.password else 1))

    def _read_until(self, mark: bytes) -> None:
        while mark not in self._received:
            self._received += self._socket.recv(1 << 16)

    def commands(self, client: redis.Redis) -> list[tuple[str, list[str]]]:
        """Return (client address or ``lua``, words) of everything so far."""
        mark = uuid.uuid4().hex
        client.echo(mark)
        self._read_until(mark.encode())
        lines = self._received.decode("utf-8", "replace").splitlines()
        parts = [line.partition("] ") for line in lines if "] " in line]
        return [(head.rpartition(" ")[2], words.strip('"').split('" "')) for head, _, words in parts]

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@pytest.fixture
def monitor(redis_url: str) -> Iterator[Monitor]:
    monitor = Monitor(redis_url)
    yield monitor
    monitor.close()


@pytest.fixture
def bench(redis_url: str) -> Iterator[LedgerBench]:
    with connect(redis_url, timeout_seconds=10) as client:
        yield LedgerBench(client)


def _steps(commands: list[tuple[str, list[str]]], of: tuple[str, ...] = STEPS) -> list[tuple[str, int]]:
    """Return each ledger step that ran, and how many commands it carried out inside Redis."""
    names = {load_script(name).sha: name for name in of}
    steps: list[tuple[str, int]] = []
    is_within = False
    for source, words in commands:
        if source == "lua":
            if is_within:
                name, count = steps[-1]
                steps[-1] = (name, count + 1)
        elif is_within := words[0].upper() == "EVALSHA" and words[1] in names:
            steps.append((names[words[1]], 0))
    return steps


@pytest.mark.parametrize("key", [None, VOICE_KEY])
def test_a_transfer_costs_three_steps_and_one_of_them_lies_between_the_notification_and_the_post(
    cluster: Cluster, monitor: Monitor, redis_client: redis.Redis, key: str | None
) -> None:
    cluster.environment["TRANSFER_VERIFY_KEYS"] = key or ""
    cluster.start_worker()
    settings = PublisherSettings(redis_url=cluster.redis_url, publish_budget_seconds=10, signing_key=key)
    with TransferPublisher(settings) as publisher:
        _count_steps(cluster, publisher, monitor, redis_client)


def test_an_idle_process_leaves_redis_alone(cluster: Cluster, redis_client: redis.Redis) -> None:
    cluster.start_worker()
    own = 0

    def read() -> tuple[float, int]:
        """Redis's time, and how often it has read anything from a socket."""
        nonlocal own
        own += 2
        seconds, micros = redis_client.time()
        return seconds + micros / 1_000_000, redis_client.info("stats")["total_reads_processed"]

    began, reads_before = read()
    own = 0
    wait_until(lambda: read()[0] >= began + IDLE_SECONDS)
    ended, reads = read()

    assert (reads - reads_before - own) / (ended - began) <= IDLE_ROUND_TRIPS


async def test_a_session_that_waits_costs_a_look_before_and_the_look_that_it_is_woken_for(
    bench: LedgerBench, monitor: Monitor, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake-up only wakes; neither look lies before the POST of a worker."""
    monkeypatch.setattr(looking, "LOOK_SECONDS", 1000)
    async with AsyncTransferPublisher(make_settings(redis_url, publish_budget_seconds=30)) as publisher:
        await publisher.submit(make_intent())  # loads the script
        handle = await publisher.submit(make_intent())
        bench.expire(handle.transfer_id)
        before = len(_steps(monitor.commands(bench.client), SESSIONS_STEPS))
        async with waiting_for(handle, client=bench.client) as (waiting,):
            bench.cancel(handle.transfer_id)
            await waiting

    steps = _steps(monitor.commands(bench.client), SESSIONS_STEPS)[before:]
    assert [name for name, _ in steps] == ["expire", "cancel", "expire"]
    assert all(count <= 3 for name, count in steps if name == "expire"), steps


def _count_steps(
    cluster: Cluster, publisher: TransferPublisher, monitor: Monitor, redis_client: redis.Redis
) -> None:
    publisher.submit(make_intent()).outcome()  # loads the scripts
    wait_until(lambda: redis_client.exists(Keys().kept))
    before = len(_steps(monitor.commands(redis_client)))
    unheard = len(monitor.commands(redis_client))

    for _ in range(TRANSFERS):
        # Its own session does not listen: waiting for an outcome looks at the record, too.
        handle = publisher.submit(make_intent())
        wait_until(lambda of=handle: cluster.audit_events(of.transfer_id)[-1:] == ["transfer.finished"])

    commands = monitor.commands(redis_client)
    steps = _steps(commands)[before:]
    assert [name for name, _ in steps] == list(STEPS) * TRANSFERS
    # The median: the first of an hour, or of a slice of the statistics, makes keys anew.
    usual = {name: median(count for step, count in steps if step == name) for name in STEPS}
    assert all(usual[name] <= COMMANDS_WITHIN[name] for name in STEPS), steps

    # Around them, gathered: kombu's note of the message and of its end, and Flower's events.
    asked = [words[0].upper() for source, words in commands[unheard:] if source != "lua"]
    assert asked.count("MULTI") <= 2 * TRANSFERS
    assert asked.count("PUBLISH") <= 4 * TRANSFERS


def test_the_record_of_a_transfer_stays_small(
    cluster: Cluster, publisher: TransferPublisher, redis_client: redis.Redis
) -> None:
    cluster.start_worker()
    handle = publisher.submit(make_intent(reason="x" * 500))
    handle.outcome()

    keys: Any = redis_client.scan_iter(match=f"transfer:*{handle.transfer_id}*")
    sizes = {key: redis_client.memory_usage(key, samples=0) for key in keys}  # all of it, no estimate
    assert sizes
    assert sum(sizes.values()) <= 3600, sizes  # 3504 on Redis 6.2, the largest


def test_the_steps_of_a_transfer_write_little_to_the_file_of_redis(
    bench: LedgerBench, publisher: TransferPublisher
) -> None:
    def written() -> int:
        size: int = bench.client.info("persistence").get("aof_current_size", 0)
        return size

    def carry_out() -> None:
        transfer_id = publisher.submit(make_intent("support", reason="asks for a person")).transfer_id
        claim = bench.claim_and_begin(transfer_id)
        assert isinstance(claim, Claim)
        assert claim.is_begun
        assert isinstance(bench.end(claim), Ended)

    carry_out()
    before = written()
    if not before:
        pytest.skip("this Redis writes no file, or does not say how large it is")
    for _ in range(TRANSFERS):
        carry_out()

    assert (written() - before) / TRANSFERS <= AOF_BYTES_WITHIN


async def test_submitting_leaves_nothing_behind_and_builds_little(redis_url: str) -> None:
    worst_bytes = 0
    async with AsyncTransferPublisher(PublisherSettings(redis_url=redis_url)) as publisher:
        for _ in range(20):
            await publisher.submit(make_intent("support"))
        gc.collect()
        tracemalloc.start()
        try:
            kept_before, _ = tracemalloc.get_traced_memory()
            for _ in range(200):
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                await publisher.submit(make_intent("support"))
                worst_bytes = max(worst_bytes, tracemalloc.get_traced_memory()[1] - before)
            gc.collect()
            kept_after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert kept_after - kept_before <= 64 * 1024, "kept after 200 submissions"
    # 256 KiB of it is what asyncio reads an answer into.
    assert worst_bytes <= (256 + 48) * 1024, "built for one submission"
