"""A machine whose time of day is wrong: deadlines, leases and fallbacks are by Redis's clock."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.cluster import OK_NUMBER, make_intent
from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from support import ProcessSpawner
    from support.cluster import Cluster

SKEWED = str(Path(__file__).parents[1] / "support" / "skewed")
SKEWS = [-3600, -90, 360, 3600]

PUBLISHER = f"""
import asyncio, uuid
from transfer_tasks import AsyncTransferPublisher, TransferIntent, TransferPublisher

def intent(seconds):
    return TransferIntent(call_id=str(uuid.uuid4()), destination="{OK_NUMBER}", expires_in_seconds=seconds)

async def main():
    async with AsyncTransferPublisher() as publisher:
        for seconds in (10, 300):
            print((await (await publisher.submit(intent(seconds))).outcome()).state, flush=True)
with TransferPublisher() as publisher:
    print(publisher.submit(intent(10)).outcome().state, flush=True)
asyncio.run(main())
"""


def skewed(seconds: float, **environment: str) -> dict[str, str]:
    """Return the environment of a process whose time of day is wrong."""
    paths = [SKEWED, environment.get("PYTHONPATH", "")]
    return environment | {"SKEW_SECONDS": str(seconds), "PYTHONPATH": ":".join(filter(None, paths))}


def test_publishers_whose_time_of_day_is_wrong_are_served_as_ever(cluster: Cluster, spawn: ProcessSpawner):
    cluster.start_worker()
    publishers = [
        spawn(
            [sys.executable, "-c", PUBLISHER],
            env=skewed(by, TRANSFER_REDIS_URL=cluster.redis_url),
            name=f"{by}",
        )
        for by in SKEWS
    ]
    for by, process in zip(SKEWS, publishers, strict=True):
        assert process.wait() == 0, process.output()
        said = process.output()
        assert said.count("submitted") == 3, said
        assert f"{abs(by):.1f} s {'ahead of' if by > 0 else 'behind'} Redis's" in said
    assert cluster.sandbox.post_count() == 3 * len(SKEWS)


@pytest.mark.parametrize("by", [-3600, 3600])
def test_a_worker_whose_time_of_day_is_wrong_serves_as_ever_beside_one_whose_is_right(
    cluster: Cluster, by: int
):
    cluster.start_worker()
    cluster.environment |= skewed(by, PYTHONPATH=cluster.worker_environment()["PYTHONPATH"])
    wrong = cluster.start_worker()
    with cluster.publisher() as publisher:
        intents = [make_intent(expires_in_seconds=20) for _ in range(40)]
        outcomes = [handle.outcome() for handle in [publisher.submit(intent) for intent in intents]]
    assert {outcome.state for outcome in outcomes} == {State.SUBMITTED}
    assert cluster.sandbox.post_count() == len(intents)
    lines = [json.loads(line) for line in wrong.output().splitlines() if line.startswith("{")]
    assert any("Redis's. Deadlines are by Redis's" in line["event"] for line in lines)


def test_a_deadline_is_kept_by_redis_whatever_the_publisher_thinks(cluster: Cluster, spawn: ProcessSpawner):
    """No worker is there, so what is accepted expires: after its seconds, neither at once nor late."""
    program = PUBLISHER.partition("async def main")[0] + (
        "with TransferPublisher() as publisher:\n"
        "    handle = publisher.submit(intent(2))\n"
        "    print(handle.transfer_id, handle.outcome().state, flush=True)\n"
    )
    for by in (-3600, 3600):
        process = spawn(
            [sys.executable, "-c", program],
            env=skewed(by, TRANSFER_REDIS_URL=cluster.redis_url),
            name=f"late{by}",
        )
        transfer_id, state = process.wait_for_output(r"(\S{36}) (\w+)").groups()
        assert state == "expired"
        record = cluster.ledger().read(transfer_id)
        lived_ms = record.ended_at_ms - record.accepted_at_ms
        assert 1900 <= lived_ms < 60_000
        assert abs(record.expires_at_ms - record.accepted_at_ms - 2000) <= 100
