"""Put an intent on the queue, follow it, withdraw it: for event loops, and for threads."""

from transfer_tasks.async_publisher import AsyncTransferHandle, AsyncTransferPublisher
from transfer_tasks.thread_publisher import TransferHandle, TransferPublisher

__all__ = ["AsyncTransferHandle", "AsyncTransferPublisher", "TransferHandle", "TransferPublisher"]
