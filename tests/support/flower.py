"""What Flower finds on its own way to the broker, without the rest of Flower."""

from __future__ import annotations

from flower.utils.broker import Broker

from transfer_worker.queue.address import BrokerAddress
from transfer_worker.queue.transport import QuickConnection


async def read_queue_length(redis_url: str) -> int:
    """Return how many messages Flower (2.2.0, `flower/app.py` and `utils/broker.py`) counts in the queue."""
    address = BrokerAddress.of(redis_url)
    connection = QuickConnection(  # type: ignore[no-untyped-call]
        address.url,
        transport=address.transport,
        transport_options=address.transport_options,
        ssl=address.use_ssl,
    )
    broker = Broker(
        connection.as_uri(include_password=True),
        broker_options=address.transport_options,
        broker_use_ssl=address.use_ssl,
    )
    (queue,) = await broker.queues(["transfers"])
    if manager := getattr(broker.redis.connection_pool, "sentinel_manager", None):
        await manager.aclose()
    return int(queue["messages"])
