"""taskiq on Redis streams, the broker that its documentation recommends; a sync task in its thread pool."""

from taskiq_redis import RedisStreamBroker

from benchmarks.peers.post import REDIS_URL, post

IS_ASYNC = True

# "0", not "$": what was submitted before the worker's first start is served, too, as everywhere else.
broker = RedisStreamBroker(REDIS_URL, consumer_id="0")


@broker.task
def transfer(call_id: str) -> None:
    post(call_id)


class Producer:
    async def submit(self, call_id: str) -> None:
        await transfer.kiq(call_id)

    async def close(self) -> None:
        await broker.shutdown()


async def open_producer() -> Producer:
    await broker.startup()
    return Producer()
