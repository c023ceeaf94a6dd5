"""What transfers cost a voice process, and how long a caller waits: `make bench-voice`.

Runs in the voice environment; Redis, the sandbox and the worker run in the worker's. Prints three tables:
the stalls of an event loop that plays audio every 20 ms beside transfers, the times from the tool call on,
and how long a full garbage collection stops everything.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import platform
import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import nltk
from pydantic import SecretStr

from benchmarks.voice.stalls import PLATFORM_MS, Ticker
from support import ProcessSpawner
from transfer_tasks.outcome import State
from transfer_tasks.voice import TransferClient, VoiceSettings
from voice.cluster import DESTINATIONS, SIGNING_KEY, Cluster

ROOT = Path(__file__).resolve().parents[2]
IN_FLIGHT = 50
BURST = 100
COLLECTIONS = 20
TRANSFER_SECONDS = 2.0  # the sandbox's delay for the destination `slow`
ASKED = "asked for the connection"


def open_client(cluster: Cluster) -> TransferClient:
    settings = VoiceSettings(
        _env_file=None,
        redis_url=SecretStr(cluster.redis_url),
        destinations_file=DESTINATIONS,
        signing_key=SecretStr(SIGNING_KEY),
        announce="after",
        repeat_window_seconds=0,
    )
    return TransferClient(settings=settings)


async def hear_nothing(_: str) -> None:
    pass


async def measure_idle(seconds: float) -> Ticker:
    async with Ticker() as ticker:
        await asyncio.sleep(seconds)
    return ticker


async def measure_stalls(cluster: Cluster, seconds: float) -> Ticker:
    """Keep 50 transfers in flight, each in a session of its own; a new one starts as one ends."""
    async with open_client(cluster) as client:

        async def transfer_one(destination: str) -> None:
            async with client.session(str(uuid.uuid4())) as session:
                answer = await session.transfer(destination, reason="a person, please", say=hear_nothing)
                assert answer.state is State.SUBMITTED, answer

        async def keep_transferring(delay_seconds: float, until: float) -> None:
            await asyncio.sleep(delay_seconds)
            while time.monotonic() < until:
                await transfer_one("slow")

        await transfer_one("support")  # connections, scripts: what a process pays once
        freeze()
        until = time.monotonic() + seconds
        step_seconds = TRANSFER_SECONDS / IN_FLIGHT
        async with Ticker() as ticker:
            await asyncio.gather(*(keep_transferring(n * step_seconds, until) for n in range(IN_FLIGHT)))
        return ticker


async def measure_burst(cluster: Cluster) -> Ticker:
    """Let so many sessions ask in the same instant, ten times."""
    async with open_client(cluster) as client:

        async def transfer_one() -> None:
            async with client.session(str(uuid.uuid4())) as session:
                await session.transfer("support", reason="a person, please", say=hear_nothing)

        await transfer_one()
        freeze()
        async with Ticker() as ticker:
            for _ in range(10):
                await asyncio.gather(*(transfer_one() for _ in range(BURST)))
                await asyncio.sleep(0.2)
        return ticker


def freeze() -> None:
    """Do what docs/voice.md advises every voice process to do when it has opened everything."""
    gc.collect()
    gc.freeze()


def measure_collections() -> dict[str, list[float]]:
    """Return how long full garbage collections of this process take, in milliseconds."""

    def collect() -> float:
        started = time.perf_counter()
        gc.collect()
        return (time.perf_counter() - started) * 1000

    gc.unfreeze()
    as_it_is = [collect() for _ in range(COLLECTIONS)]
    freeze()
    frozen = [collect() for _ in range(COLLECTIONS)]
    return {"as it is": as_it_is, "after `gc.freeze()`": frozen}


async def measure_latencies(cluster: Cluster, calls: int) -> dict[str, list[float]]:
    """Let callers ask one after the other; return milliseconds from the model's tool call."""
    nltk.download = lambda *_, **__: False  # piopiy.utils.string (0.6.1) downloads a model when imported
    from voice.loopback import Loopback
    from voice.model import say, transfer

    to_post, to_sentence, to_answer = [], [], []
    async with open_client(cluster) as client, Loopback(client) as voice:
        for _ in range(calls):
            call = await voice.ring(transfer("support"))
            await call.say("A person, please.")
            heard_at = await call.hears(ASKED)
            asked_at = call.wits.tool_calls_at[0]
            to_sentence.append(heard_at - asked_at)
            to_post.append(cluster.posts(call.call_id)[0].at - asked_at)
            await call.hang_up()

            call = await voice.ring(transfer("refusing"), say("Shall I try billing?"))
            await call.say("A person, please.")
            await call.hears("billing")
            to_answer.append(call.wits.answered_at[0] - call.wits.tool_calls_at[0])
            await call.hang_up()
    named = {
        "tool call → POST at the platform": to_post,
        "tool call → the sentence handed to the voice": to_sentence,
        "tool call → the model asked for its answer": to_answer,
    }
    return {name: [seconds * 1000 for seconds in times] for name, times in named.items()}


def measure_peer(cluster: Cluster, peer: str) -> Ticker:
    """Measure in the worker's environment, which has the REST SDK and Celery."""
    cluster.delay_answers(PLATFORM_MS)
    run = subprocess.run(
        [cluster.python, "-m", "benchmarks.voice.stalls", peer],
        cwd=ROOT,
        env={**os.environ, **cluster.worker_environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    cluster.delay_answers(0)
    return Ticker(json.loads(run.stdout))


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(len(values) * share) - 1]


def print_row(name: str, values: list[float]) -> None:
    median, late = statistics.median(values), percentile(values, 0.99)
    print(f"| {name} | {len(values)} | {median:.1f} | {late:.1f} | {max(values):.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20, help="how long to keep 50 transfers in flight")
    parser.add_argument("--calls", type=int, default=100, help="how many calls to time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        spawner = ProcessSpawner(Path(directory))
        with Cluster(spawner) as cluster:
            worker = cluster.start_worker()
            try:
                stalls = {
                    "nothing beside it": asyncio.run(measure_idle(options.seconds)),
                    "50 transfers in flight": asyncio.run(measure_stalls(cluster, options.seconds)),
                    f"{BURST} tool calls in the same instant, ten times": asyncio.run(measure_burst(cluster)),
                    f"the how-to's inline REST call, 50 times {PLATFORM_MS} ms": measure_peer(
                        cluster, "inline"
                    ),
                    "Celery's `apply_async`, 50 times": measure_peer(cluster, "celery"),
                }
                latencies = asyncio.run(measure_latencies(cluster, options.calls))
                collections = measure_collections()
            finally:
                worker.kill_group()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n")
    print("| beside a 20 ms audio tick | ticks | late by, median ms | p99 | max |\n|---|---|---|---|---|")
    for name, ticker in stalls.items():
        print_row(name, ticker.late_ms)
    print("\n| from → to | calls | median ms | p99 | max |\n|---|---|---|---|---|")
    for name, times in latencies.items():
        print_row(name, times)
    print("\n| a full garbage collection | times | median ms | p99 | max |\n|---|---|---|---|---|")
    for name, times in collections.items():
        print_row(name, times)


if __name__ == "__main__":
    main()
