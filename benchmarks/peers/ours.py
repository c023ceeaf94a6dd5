"""This project as shipped."""

from benchmarks.peers.post import REDIS_URL
from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher import AsyncTransferHandle, AsyncTransferPublisher
from transfer_tasks.settings import PublisherSettings

IS_ASYNC = True


class Producer:
    def __init__(self) -> None:
        # A benchmark's queue is long on purpose: nothing may expire in it.
        self.publisher = AsyncTransferPublisher(PublisherSettings(redis_url=REDIS_URL))

    def build(self, call_id: str) -> TransferIntent:
        return TransferIntent(
            call_id=call_id, destination="support", reason="asks for a person", expires_in_seconds=300
        )

    async def submit(self, intent: TransferIntent) -> AsyncTransferHandle:
        return await self.publisher.submit(intent)

    async def close(self) -> None:
        await self.publisher.close()


async def open_producer() -> Producer:
    return Producer()
