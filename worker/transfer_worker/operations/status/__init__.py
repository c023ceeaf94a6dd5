"""`call-transfer status`: how things stand as plain JSON values, and what of it somebody should look at."""

from transfer_worker.operations.status.overview import read_overview

__all__ = ["read_overview"]
