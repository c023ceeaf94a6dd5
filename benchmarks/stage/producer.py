"""The submitting process: `python -m benchmarks.stage.producer <module of the peer>`.

Reads commands as JSON lines, answers each with one. Whatever the system, it submits from an event loop,
because that is where a voice session lives; a system without an asyncio API blocks it, and the stall shows.

    {"do": "submit", "calls": […]}                          as fast as it goes
    {"do": "pace", "calls": […], "per_second": 50, "seed": 1}  at a steady rate, each up to 5 ms early or late
    {"do": "burst", "calls": […]}                           all at once, the loop's longest stall watched
    {"do": "follow", …as pace…}                             the same, and wait for each outcome (ours only)
"""

import asyncio
import gc
import importlib
import inspect
import json
import os
import random
import sys
import time

TICK_SECONDS = 0.001
JITTER_SECONDS = 0.005


class Session:
    def __init__(self, producer, *, is_async: bool) -> None:
        self.producer, self.is_async = producer, is_async
        self.build = getattr(producer, "build", lambda call_id: call_id)
        self.times: dict[str, tuple[int, int, int]] = {}
        self.known: dict[str, int] = {}
        self.ids: dict[str, str] = {}
        self.longest_stall_ns = 0

    async def submit(self, call_id: str):
        start = time.monotonic_ns()
        request = self.build(call_id)
        called = time.monotonic_ns()
        submitted = self.producer.submit(request)
        if self.is_async:
            submitted = await submitted
        self.times[call_id] = (start, called, time.monotonic_ns())
        self.ids[call_id] = getattr(submitted, "transfer_id", "")
        return submitted

    async def follow(self, call_id: str) -> None:
        handle = await self.submit(call_id)
        await handle.outcome()
        self.known[call_id] = time.monotonic_ns()

    async def watch_stalls(self) -> None:
        """Note the longest time beyond a tick in which the loop did not come round."""
        while True:
            asked = time.monotonic_ns()
            await asyncio.sleep(TICK_SECONDS)
            late = time.monotonic_ns() - asked - int(TICK_SECONDS * 1e9)
            self.longest_stall_ns = max(self.longest_stall_ns, late)

    async def run(self, command: dict) -> dict:
        self.times, self.known, self.ids, self.longest_stall_ns = {}, {}, {}, 0
        cpu_before = time.process_time_ns()
        if command["do"] == "submit":
            for call_id in command["calls"]:
                await self.submit(call_id)
        elif command["do"] == "burst":
            await self._burst(command["calls"])
        else:
            await self._pace(command)
        return {
            "times": self.times,
            "known": self.known,
            "ids": self.ids,
            "stall_ns": self.longest_stall_ns,
            "cpu_ns": time.process_time_ns() - cpu_before,
        }

    async def _burst(self, calls: list[str]) -> None:
        watch = asyncio.create_task(self.watch_stalls())
        await asyncio.sleep(10 * TICK_SECONDS)
        await asyncio.gather(*(asyncio.create_task(self.submit(call_id)) for call_id in calls))
        await asyncio.sleep(10 * TICK_SECONDS)
        watch.cancel()

    async def _pace(self, command: dict) -> None:
        jitter = random.Random(command["seed"])
        step = self.follow if command["do"] == "follow" else self.submit
        begin, tasks = time.monotonic(), []
        for number, call_id in enumerate(command["calls"]):
            due = begin + number / command["per_second"] + jitter.uniform(0, JITTER_SECONDS)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self.is_async:
                tasks.append(asyncio.create_task(step(call_id)))
            else:
                await step(call_id)
        await asyncio.gather(*tasks)


async def _main(name: str) -> None:
    peer = importlib.import_module(f"benchmarks.peers.{name}")
    producer = peer.open_producer()
    if inspect.isawaitable(producer):
        producer = await producer
    session = Session(producer, is_async=peer.IS_ASYNC)
    print(json.dumps({"pid": os.getpid()}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        gc.collect()
        print(json.dumps(await session.run(json.loads(line))), flush=True)
    closed = producer.close()
    if inspect.isawaitable(closed):
        await closed


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
