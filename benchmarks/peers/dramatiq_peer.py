"""dramatiq on its defaults: one process, threads."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.post import REDIS_URL, post

IS_ASYNC = False

dramatiq.set_broker(RedisBroker(url=REDIS_URL))


@dramatiq.actor
def transfer(call_id: str) -> None:
    post(call_id)


class Producer:
    def submit(self, call_id: str) -> None:
        transfer.send(call_id)

    def close(self) -> None:
        dramatiq.get_broker().close()


open_producer = Producer
