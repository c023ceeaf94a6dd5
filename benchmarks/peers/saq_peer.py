"""saq: asyncio; the POST is a blocking call, so it runs in the loop's threads, as many as needed."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from saq import Queue

from benchmarks.peers.post import CONCURRENCY, REDIS_URL, post

IS_ASYNC = True


async def transfer(_context, *, call_id: str) -> None:
    await asyncio.to_thread(post, call_id)


async def _widen_threads(_context) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CONCURRENCY))


queue = Queue.from_url(REDIS_URL)
settings = {
    "queue": queue,
    "functions": [transfer],
    "concurrency": CONCURRENCY,
    "startup": _widen_threads,
}


class Producer:
    async def submit(self, call_id: str) -> None:
        await queue.enqueue("transfer", call_id=call_id)

    async def close(self) -> None:
        await queue.disconnect()


async def open_producer() -> Producer:
    await queue.connect()
    return Producer()
