"""The floor: LPUSH, BRPOP, a thread pool. No acknowledgement, no retries, no record."""

from concurrent.futures import ThreadPoolExecutor

import redis

from benchmarks.peers.post import CONCURRENCY, REDIS_URL, post

IS_ASYNC = False
QUEUE = "floor"


class Producer:
    def __init__(self) -> None:
        self.client = redis.Redis.from_url(REDIS_URL)

    def submit(self, call_id: str) -> None:
        self.client.lpush(QUEUE, call_id)

    def close(self) -> None:
        self.client.close()


open_producer = Producer


def main() -> None:
    client = redis.Redis.from_url(REDIS_URL)
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        while True:
            _, call_id = client.brpop([QUEUE])
            pool.submit(post, call_id.decode())


if __name__ == "__main__":
    main()
