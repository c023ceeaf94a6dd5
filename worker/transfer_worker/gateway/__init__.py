"""One POST to the platform, and what is known after it."""

from transfer_worker.gateway.client import MAX_IDLE_SECONDS, PiopiyGateway

__all__ = ["MAX_IDLE_SECONDS", "PiopiyGateway"]
