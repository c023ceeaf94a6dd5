"""rq as it ships: a worker pool, whose workers fork for each job; no results kept."""

import redis
from rq import Queue

from benchmarks.peers.post import REDIS_URL, post

IS_ASYNC = False


def transfer(call_id: str) -> None:
    post(call_id)


class Producer:
    def __init__(self) -> None:
        self.client = redis.Redis.from_url(REDIS_URL)
        self.queue = Queue("default", connection=self.client)

    def submit(self, call_id: str) -> None:
        self.queue.enqueue(transfer, call_id, result_ttl=0)

    def close(self) -> None:
        self.client.close()


open_producer = Producer
