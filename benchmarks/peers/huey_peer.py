"""huey as its guide has it for I/O: RedisHuey (blocking pop), `-k thread`, no results."""

from huey import RedisHuey

from benchmarks.peers.post import REDIS_URL, post

IS_ASYNC = False

huey = RedisHuey("bench", url=REDIS_URL, results=False)


@huey.task()
def transfer(call_id: str) -> None:
    post(call_id)


class Producer:
    def submit(self, call_id: str) -> None:
        transfer(call_id)

    def close(self) -> None:
        huey.storage.conn.close()


open_producer = Producer
