"""This project as shipped. `submit` builds the intent, too: that is what a session does."""

from benchmarks.peers.post import REDIS_URL
from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher import AsyncTransferHandle, AsyncTransferPublisher
from transfer_tasks.settings import PublisherSettings

IS_ASYNC = True


class Producer:
    def __init__(self) -> None:
        # A benchmark's queue is long on purpose: nothing may expire in it.
        self.publisher = AsyncTransferPublisher(PublisherSettings(redis_url=REDIS_URL))

    async def submit(self, call_id: str) -> AsyncTransferHandle:
        intent = TransferIntent(
            call_id=call_id, destination="support", reason="asks for a person", expires_in_seconds=300
        )
        return await self.publisher.submit(intent)

    async def close(self) -> None:
        await self.publisher.close()


async def open_producer() -> Producer:
    return Producer()
