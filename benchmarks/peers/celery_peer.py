"""Bare Celery on its defaults, without results; threads or prefork by the worker's command line."""

from celery import Celery

from benchmarks.peers.post import REDIS_URL, post

IS_ASYNC = False

app = Celery("bare", broker=REDIS_URL)
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task
def transfer(call_id: str) -> None:
    post(call_id)


class Producer:
    def submit(self, call_id: str) -> None:
        transfer.apply_async((call_id,))

    def close(self) -> None:
        app.close()


open_producer = Producer
