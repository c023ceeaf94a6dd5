"""Somebody else's Celery application on the same Redis database: `celery -A support.neighbour_app worker`."""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("neighbour", broker=os.environ["TRANSFER_REDIS_URL"])
# As most applications have it; the visibility timeout is shorter than ours where a test says so.
VISIBILITY_SECONDS = int(os.environ.get("NEIGHBOUR_VISIBILITY_SECONDS", "3600"))
app.conf.broker_transport_options = {"visibility_timeout": VISIBILITY_SECONDS}
app.conf.broker_connection_retry_on_startup = True


@app.task(name="neighbour.hold", acks_late=True)  # type: ignore[untyped-decorator]
def hold(run_id: str, seconds: float) -> None:
    """Count a start, and take that long."""
    with app.connection_for_write() as connection, connection.channel() as channel:
        channel.client.incr(f"neighbour:starts:{run_id}")
    time.sleep(seconds)
