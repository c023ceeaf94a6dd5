"""Put an intent on the queue, follow it, withdraw it: for event loops, and for threads."""

from transfer_tasks.publisher.asynchronous import AsyncTransferPublisher
from transfer_tasks.publisher.handle import AsyncTransferHandle
from transfer_tasks.publisher.threaded import TransferHandle, TransferPublisher

__all__ = ["AsyncTransferHandle", "AsyncTransferPublisher", "TransferHandle", "TransferPublisher"]
