"""arq: asyncio, polling. Its default looks every 500 ms; here every 10 ms, which is kind to its latency."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.peers.post import CONCURRENCY, REDIS_URL, post

IS_ASYNC = True


async def transfer(_context, call_id: str) -> None:
    await asyncio.to_thread(post, call_id)


async def _widen_threads(_context) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CONCURRENCY))


class WorkerSettings:
    functions = (transfer,)
    redis_settings = RedisSettings.from_dsn(REDIS_URL)
    max_jobs = CONCURRENCY
    poll_delay = 0.01
    keep_result = 0
    on_startup = _widen_threads


class Producer:
    def __init__(self, pool) -> None:
        self.pool = pool

    async def submit(self, call_id: str) -> None:
        await self.pool.enqueue_job("transfer", call_id)

    async def close(self) -> None:
        await self.pool.aclose()


async def open_producer() -> Producer:
    return Producer(await create_pool(WorkerSettings.redis_settings))
