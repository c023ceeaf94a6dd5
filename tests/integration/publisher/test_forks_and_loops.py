"""A publisher after a fork, in a second event loop, or never closed: connections of its own, and no noise.

Each case is a program of its own, as users write them; the sandbox counts what leaves for the platform.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from support.cluster import OK_NUMBER

if TYPE_CHECKING:
    from support import ProcessSpawner
    from support.cluster import Cluster

BEGINNING = f"""
import asyncio, os, sys, uuid
from transfer_tasks import AsyncTransferPublisher, TransferIntent, TransferPublisher

def intent():
    return TransferIntent(call_id=str(uuid.uuid4()), destination="{OK_NUMBER}", expires_in_seconds=60)

async def move(publisher):
    handle = await publisher.submit(intent())
    print("moved" if (await handle.outcome()).state == "submitted" else "not moved", flush=True)
    return handle

publisher = AsyncTransferPublisher()
"""

TWO_LOOPS = """
first = asyncio.run(move(publisher))
async def again():
    await move(publisher)
    print((await first.outcome()).state)
asyncio.run(again())
asyncio.run(publisher.close())
"""

LOOPS_SIDE_BY_SIDE = """
import threading
async def both():
    await asyncio.gather(move(publisher), asyncio.to_thread(lambda: asyncio.run(move(publisher))))
asyncio.run(both())
"""

FORKED_BETWEEN_LOOPS = """
asyncio.run(move(publisher))
child = os.fork()
asyncio.run(move(publisher))
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

FORKED_INSIDE_A_LOOP = """
import multiprocessing
async def main():
    before = await move(publisher)
    waiting = asyncio.create_task(before.outcome())
    await asyncio.sleep(0)
    child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(move(publisher)))
    child.start()
    await move(publisher)
    await waiting
    await asyncio.to_thread(child.join)
    assert child.exitcode == 0
    await move(publisher)
asyncio.run(main())
"""

FORKED_BY_MULTIPROCESSING = """
import multiprocessing
threaded = TransferPublisher()
def move_by_thread():
    print("moved" if threaded.submit(intent()).outcome().state == "submitted" else "not moved", flush=True)
move_by_thread()
children = [multiprocessing.get_context("fork").Process(target=move_by_thread) for _ in range(3)]
for child in children:
    child.start()
move_by_thread()
for child in children:
    child.join()
    assert child.exitcode == 0
"""

FORKED_AND_NEVER_USED = """
threaded = TransferPublisher()
print("moved" if threaded.submit(intent()).outcome().state == "submitted" else "not moved", flush=True)
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    print("moved" if threaded.submit(intent()).outcome().state == "submitted" else "not moved", flush=True)
"""

NEVER_CLOSED = """
for _ in range(3):
    handle = TransferPublisher().submit(intent())
    print("moved" if handle.outcome().state == "submitted" else "not moved", flush=True)
del handle
"""


@pytest.mark.parametrize(
    ("program", "requests"),
    [
        pytest.param(TWO_LOOPS, 2, id="two loops, one after the other"),
        pytest.param(LOOPS_SIDE_BY_SIDE, 2, id="two loops at once"),
        pytest.param(FORKED_BETWEEN_LOOPS, 3, id="forked between two loops"),
        pytest.param(FORKED_INSIDE_A_LOOP, 4, id="forked inside a loop"),
        pytest.param(FORKED_BY_MULTIPROCESSING, 5, id="forked by multiprocessing"),
        pytest.param(FORKED_AND_NEVER_USED, 2, id="forked, and not used by the child"),
        pytest.param(NEVER_CLOSED, 3, id="never closed"),
    ],
)
def test_each_request_is_carried_out_once_and_nothing_else_is_said(
    cluster: Cluster, spawn: ProcessSpawner, program: str, requests: int
) -> None:
    cluster.start_worker()
    process = spawn(
        [sys.executable, "-c", BEGINNING + program], env={"TRANSFER_REDIS_URL": cluster.redis_url}
    )
    assert process.wait() == 0, process.output()
    said = process.output().split()
    assert said.count("moved") == requests
    assert set(said) <= {"moved", "submitted"}, process.output()
    assert cluster.sandbox.post_count() == requests
